"""How a reranker, which reads one text as the query, gets to read an instruction as well."""

from dataclasses import dataclass

from instruct_embeddings.errors import ConfigError


@dataclass(frozen=True)
class QueryForm:
    """What stands where a reranker expects the query.

    Attributes:
        form: A text with `{instruction}` and `{query}`, as the card of the model says.

    Raises:
        ConfigError: The form does not name the query, or names something else.
    """

    form: str = "{instruction} {query}"

    def __post_init__(self) -> None:
        try:
            written = self.form.format(instruction="\x00", query="\x01")
        except (KeyError, IndexError, ValueError) as exc:
            raise ConfigError(
                f"form={self.form!r} holds something else than {{instruction}} and {{query}} "
                f'({exc}). Pass a form such as "{{instruction}} {{query}}".'
            ) from exc
        if "\x01" not in written:
            raise ConfigError(f"form={self.form!r} does not hold {{query}}; add it.")

    def write(self, query: str, instruction: str | None) -> str:
        """Both in one text; without an instruction the query alone."""
        if instruction is None:
            return query
        return self.form.format(instruction=instruction, query=query)
