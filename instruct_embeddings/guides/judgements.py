"""Relevance judgements of users, or clicks: which documents answer which query."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from instruct_embeddings._reading import shown
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides._common import Embed, digest, embed_all
from instruct_embeddings.protocols import Guide, Rows
from instruct_embeddings.supervision import Pairs


@dataclass(frozen=True)
class Judgement:
    """Whether one document answers one query.

    Attributes:
        query: Text of the query.
        id: Identifier of the document in the collection.
        relevant: Whether it answers the query.
    """

    query: str
    id: str
    relevant: bool


class JudgementGuide:
    """Takes pairs from (query, id, relevant) triples, and starts from what another guide teaches.

    Instantiate:
        ```python
        guide = JudgementGuide(
            [("it ate my photos", "ticket-17", True), ("it ate my photos", "ticket-3", False)],
            embeddings.embed_documents,
            start=EncoderGuide(),
        )
        ```

    With a start, a retriever fits the start's transform first and lets the judgements correct it
    (`transform.judgements`): about 20 judgements improve what the judged queries find, and do
    no harm to others; hundreds improve others too. Without one the transform learns from the pairs
    alone, for which hundreds are needed.

    Attributes:
        judgements: One for each query and id, in the order given.
        start: Teaches the transform that is corrected; None learns from the pairs alone.
    """

    def __init__(
        self,
        judgements: Iterable[Judgement | tuple[str, str, bool]],
        embed: Embed,
        *,
        start: Guide | None = None,
    ) -> None:
        """Keep the judgements; nothing is embedded yet.

        Args:
            judgements: Both relevant and irrelevant ones. Of two about the same query and id the
                later holds.
            embed: Embeds texts of queries as the collection's own model does, n texts to vectors
                of shape (n, d).
            start: Teaches the transform that is corrected.

        Raises:
            GuideError: There is no judgement, or one is not a (query, id, relevant) triple.
        """
        if not isinstance(judgements, Iterable) or isinstance(judgements, str | Mapping):
            raise GuideError(
                f"JudgementGuide got {shown(judgements)}, and several judgements are wanted. Pass "
                "a list of (query, id, relevant) triples."
            )
        found: dict[tuple[str, str], Judgement] = {}
        for one in map(_judgement, judgements):
            found.pop((one.query, one.id), None)
            found[one.query, one.id] = one
        if not found:
            raise GuideError(
                "JudgementGuide got no judgements. Pass (query, id, relevant) triples, such as "
                '("it ate my photos", "ticket-17", True).'
            )
        self.judgements = tuple(found.values())
        self.start = start
        self._embed = embed

    def __repr__(self) -> str:
        """The number of judgements; queries themselves may be private."""
        return f"JudgementGuide(<{len(self.judgements)} judgements>, start={self.start!r})"

    @property
    def key(self) -> str:
        """`judgements:<digest>`, followed by the key of the start."""
        start = f":{self.start.key}" if self.start else ""
        return f"judgements:{digest(sorted(map(astuple, self.judgements)))}{start}"

    def ids(self) -> Sequence[str]:
        """The judged rows, sorted."""
        return sorted({one.id for one in self.judgements})

    def with_judgements(
        self, more: Iterable[Judgement | tuple[str, str, bool]]
    ) -> "JudgementGuide":
        """A guide with further judgements, which replace those they contradict.

        Raises:
            GuideError: One is not a (query, id, relevant) triple.
        """
        return JudgementGuide([*self.judgements, *more], self._embed, start=self.start)

    def judge(self, instruction: str, sample: Rows) -> Pairs:
        """The judgements about rows of the sample as pairs of vectors, in the order given.

        Args:
            instruction: Not read: judgements are about one respect of the texts already.
            sample: Rows with vectors.

        Raises:
            GuideError: No row of the sample was judged, or the queries' vectors have another
                shape than the stored ones.
        """
        del instruction
        rows = {row: position for position, row in enumerate(sample.ids)}
        known = [one for one in self.judgements if one.id in rows]
        if not known:
            raise GuideError(
                f"None of the {len(sample)} sampled rows was judged. Sampled ids look like "
                f"{list(sample.ids[:3])}, judged ids like {self.ids()[:3]}. Use the ids of the "
                "collection."
            )
        queries = list(dict.fromkeys(one.query for one in known))
        vectors = embed_all(self._embed, queries, sample.vectors.shape[1])
        positions = {query: position for position, query in enumerate(queries)}
        return Pairs(
            vectors[[positions[one.query] for one in known]],
            sample.vectors[[rows[one.id] for one in known]],
            np.array([one.relevant for one in known], dtype=np.bool_),
        )


def _judgement(given: object) -> Judgement:
    parts = astuple(given) if isinstance(given, Judgement) else given
    if isinstance(parts, Sequence) and not isinstance(parts, str) and len(parts) == 3:
        query, row, relevant = parts
        known = isinstance(query, str) and isinstance(row, str)
        # numpy's booleans and 0 or 1 from a table are as good.
        if known and not isinstance(relevant, str) and relevant in (True, False):
            return Judgement(query, row, bool(relevant))
    raise GuideError(
        f"{given!r} is not a judgement. Pass (query, id, relevant) with two strings and a boolean, "
        'such as ("it ate my photos", "ticket-17", True).'
    )
