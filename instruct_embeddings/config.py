"""Settings of fitting and searching: frozen, validated when made, saved with what they made."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

from instruct_embeddings._reading import is_number, shown
from instruct_embeddings.errors import ConfigError, InstructionError, InvalidVectorsError

if TYPE_CHECKING:
    from instruct_embeddings._types import FloatArray

MAX_INSTRUCTION_CHARACTERS = 2000
_MAX_INSTRUCTIONS = 16
_MAX_EXAMPLES = 100
# What the hosts call alike.
_SAME = (("k", "similarity_top_k", "top_k"), ("filter", "filters", "where"))
T = TypeVar("T", bound=type)


def check_arguments(owner: str, given: Collection[str], known: Collection[str]) -> None:
    """A `TypeError` for arguments that do not exist, with those that were probably meant."""
    for name in given:
        if name not in known:
            same = [other for names in _SAME if name in names for other in names if other in known]
            close = same or get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            raise TypeError(
                f"{owner} has no argument {name!r:.60}. {hint}It has {', '.join(sorted(known))}."
            )


def suggesting(cls: T) -> T:
    """A class that says of an argument that does not exist which one was probably meant."""
    made = cls.__init__  # type: ignore[misc]
    known = list(signature(made).parameters)[1:]

    @wraps(made)
    def checked(self: Any, *args: Any, **named: Any) -> None:
        check_arguments(cls.__name__, named, known)
        made(self, *args, **named)

    cls.__init__ = checked  # type: ignore[misc]
    return cls


@suggesting
@dataclass(frozen=True)
class FitConfig:
    """How a transform is fitted.

    Attributes:
        sample_size: Rows of the collection to learn from; four times as many where less than 30 %
            of them carry a label. A guide that encodes starts with fewer and comes so far only
            where it pays.
        folds: Parts of the sample; each is held out once to measure and to choose.
        seed: Seed of sampling, of folds and of network weights.
        time_budget: Seconds after which no further hyper-parameter is tried.
        guide_budget: Seconds after which a guide that encodes is asked about no further rows.
        recall: Share of the ten best rows that the index has to find, from 0 to 1; so many
            candidates are fetched by each search.
    """

    sample_size: int = 1000
    folds: int = 3
    seed: int = 0
    time_budget: float = 10.0
    guide_budget: float = 60.0
    recall: float = 0.98

    def __post_init__(self) -> None:
        for name, low in (("sample_size", 4), ("folds", 2), ("seed", 0)):
            number = at_least(name, getattr(self, name), low, optional=False)
            object.__setattr__(self, name, number)
        for name in ("time_budget", "guide_budget"):
            seconds(name, getattr(self, name))
        if not is_number(self.recall) or not 0 < self.recall <= 1:
            raise ConfigError(
                f"recall={self.recall!r:.60} is no share of the ten best rows. Allowed are numbers "
                "above 0 and at most 1, such as 0.99."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as saved with a transform."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FitConfig":
        """The reverse of `to_dict`.

        Raises:
            ConfigError: A key is unknown to this version.
        """
        known = sorted(field.name for field in fields(cls))
        if unknown := sorted(set(data) - set(known)):
            raise ConfigError(
                f"Unknown fit settings {unknown}; this version knows {known}. Upgrade the package "
                "or remove them."
            )
        return cls(**data)


@dataclass(frozen=True)
class Instruction:
    """An instruction with a few examples of what it means.

        Instruction(
            "Find the rebuttal.",
            examples=[
                ("Ban school uniforms", "Uniforms make poverty invisible."),
                ("Tax sugar", "It hits the poor hardest.", "Sugar makes people ill."),
            ],
        )

    Searches take it where they take a plain sentence. Nothing is fitted for the examples: they
    correct the query at once. It is hashable, and `asdict` gives plain data.

    Attributes:
        text: The plain sentence.
        examples: A query and a text that answers it, and perhaps one that does not, each; at most
            100. Equal ones count once.

    Raises:
        InstructionError: A text is empty or no string, there is no example, or they contradict
            each other.
    """

    text: str
    examples: Sequence[tuple[str, str] | tuple[str, str, str]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", check_instruction(self.text))
        given = self.examples
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise _wrong_examples(f"examples={given!r:.60} is of type {type(given).__name__}")
        if not 1 <= len(given) <= _MAX_EXAMPLES:
            raise _wrong_examples(f"There are {len(given)} examples")
        kept = tuple(dict.fromkeys(map(_check_example, given)))
        bad = {(each[0], each[2]) for each in kept if len(each) == 3}
        for query, good, *_ in kept:
            if (query, good) in bad:
                raise InstructionError(
                    f"Examples contradict each other: for {query!r:.60} the text {good!r:.60} is "
                    "both good and bad. Each text is one of them for a query. Leave one out."
                )
        object.__setattr__(self, "examples", kept)


Instructions: TypeAlias = (
    str | Instruction | Mapping[str, float] | Mapping[str | Instruction, float]
)
"""One instruction, or several with positive weights."""


def _check_example(given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) not in (2, 3):
        raise _wrong_examples(f"An example is {given!r:.60}")
    for text in given:
        if not isinstance(text, str) or not text.strip():
            raise _wrong_examples(f"A text of the example {given!r:.60} is {text!r:.60}")
    return tuple(text.strip() for text in given)


def _wrong_examples(found: str) -> InstructionError:
    return InstructionError(
        f"{found}. Allowed are 1 to {_MAX_EXAMPLES} examples, each a query, a text that answers it "
        "and, if you like, one that does not, all of them strings that are not blank. Pass "
        'examples=[("it ate my photos", "Restore them from the bin.")], or the plain sentence '
        "without examples."
    )


def _said(asked: str | Instruction) -> str:
    return asked.text if isinstance(asked, Instruction) else asked


def examples_in(asked: "Instructions | None") -> dict[str, Instruction]:
    """Instructions that carry examples, by their text; see `check_instructions`."""
    several = asked if isinstance(asked, Mapping) else (asked,)
    return {one.text: one for one in several if isinstance(one, Instruction)}


def check_instruction(instruction: str | Instruction) -> str:
    """The sentence of an instruction without surrounding white space.

    Raises:
        InstructionError: It is empty, longer than 2,000 characters, not a string, or holds half of
            a surrogate pair.
    """
    if isinstance(instruction, Instruction):
        return instruction.text
    if not isinstance(instruction, str):
        raise InstructionError(
            f"An instruction is a plain sentence, got {type(instruction).__name__}. "
            'Pass a string such as "What programming language is it written in?".'
        )
    text = instruction.strip()
    if not text:
        raise InstructionError(
            "The instruction is empty. Pass a sentence such as "
            '"What programming language is it written in?", or None for the generic search.'
        )
    if len(text) > MAX_INSTRUCTION_CHARACTERS:
        raise InstructionError(
            f"The instruction has {len(text):,} characters; at most "
            f"{MAX_INSTRUCTION_CHARACTERS:,} are allowed. Say it in one plain sentence."
        )
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InstructionError(
            f"The instruction holds half of a surrogate pair, {text[exc.start]!r} at position "
            f"{exc.start:,}, which can neither be stored nor read by a model. Whole characters are "
            "allowed. Repair the text where it was cut or decoded."
        ) from exc
    return text


def optional_instruction(instruction: str | None) -> str | None:
    """The same of an instruction that may be left out; None for generic embeddings.

    Raises:
        InstructionError: As `check_instruction`; or it carries examples, which nothing would read.
    """
    if isinstance(instruction, Instruction):
        raise InstructionError(
            f"{instruction.text!r:.60} carries {len(instruction.examples)} examples, which correct "
            "searches; an embedding under an instruction has no use for them. A plain sentence is "
            "allowed here. Pass its text, or give it to a retriever."
        )
    return None if instruction is None else check_instruction(instruction)


def check_instructions(asked: Instructions) -> dict[str, float]:
    """Sentences of instructions with weights that add up to 1, or InstructionError."""
    if not isinstance(asked, Mapping):
        return {check_instruction(asked): 1.0}
    if not 1 <= len(asked) <= _MAX_INSTRUCTIONS:
        raise InstructionError(
            f"Got {len(asked)} instructions; 1 to {_MAX_INSTRUCTIONS} can be combined. "
            'Pass {"What problem is reported?": 0.7, "How urgent is it?": 0.3}.'
        )
    texts: dict[str, str | Instruction] = {}
    weights: dict[str, float] = {}
    for given, weight in asked.items():
        text = check_instruction(given)
        if (other := texts.setdefault(normal_form(text), given)) is not given:
            raise InstructionError(
                f"{_said(other)!r} and {_said(given)!r} are one instruction: case, spacing and end "
                "marks do not count. Keep one of them."
            )
        if not is_number(weight) or not 0 < weight <= 1e100:
            raise InstructionError(
                f"The weight of {text!r} is {shown(weight)}, not a positive number of at most "
                "1e100. Give each instruction a weight such as 0.5, or leave it out."
            )
        weights[text] = weight
    total = sum(weights.values())
    return {text: weight / total for text, weight in weights.items()}


def normalise_instruction(instruction: str | Instruction) -> str:
    """The form under which a transform is found again: case, spacing and end marks do not count."""
    return normal_form(check_instruction(instruction))


def normal_form(instruction: str) -> str:
    """The same of an instruction that was checked before."""
    text = " ".join(instruction.casefold().split())
    return text.rstrip(" .?!") or text


def seconds(name: str, value: object) -> None:
    """A `ConfigError` for a length of time that is not a positive number."""
    if value != float("inf") and not (is_number(value) and value > 0):
        raise ConfigError(f"{name} must be a positive number of seconds, got {value!r:.60}.")


def one_vector(vector: "FloatArray") -> "FloatArray":
    """A vector to search by, as float32 of the shape (d,).

    Raises:
        InvalidVectorsError: It is not one vector, or holds NaN or infinite numbers.
    """
    import numpy as np  # not needed by commands that only parse their options

    query: FloatArray = np.asarray(vector, dtype=np.float32)
    if query.ndim != 1 or not np.isfinite(query).all():
        raise InvalidVectorsError(
            f"The query must be one vector without NaN or infinite numbers, shape (d,), got the "
            f"shape {query.shape}. Look at the model that it came from."
        )
    return query


def check_filter(name: str, value: object) -> None:
    """A `ConfigError` for a filter on rows that is neither a mapping nor None."""
    if not isinstance(value, Mapping | None):
        raise ConfigError(
            f'{name} must be a mapping such as {{"area": "billing"}}, or None, got {value!r:.60}.'
        )


@overload
def at_least(name: str, value: object, low: int, *, optional: Literal[False]) -> int: ...


@overload
def at_least(name: str, value: object, low: int, *, optional: bool = True) -> int | None: ...


def at_least(name: str, value: object, low: int, *, optional: bool = True) -> int | None:
    """An integer that a user gave, numpy's included, as an int; None where that is `optional`.

    Raises:
        ConfigError: It is smaller than `low`, or no integer.
    """
    if value is None and optional:
        return None
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        rest = " or None" if optional else ""
        raise ConfigError(f"{name} must be an integer >= {low}{rest}, got {value!r:.60}.")
    return int(value)
