"""What people annotated already: labels given by hand or stored as metadata, and judgements."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TypeAlias

import numpy as np

from instruct_embeddings._reading import shown
from instruct_embeddings._types import Metadata
from instruct_embeddings._warnings import warn
from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides.base import Embed, OfAnyRow, digest, embed_all
from instruct_embeddings.protocols import Guide, Rows
from instruct_embeddings.supervision import Labels, Pairs

# Longer or more values than these are texts or vectors, not labels.
MOST_LABELS = 256
MOST_CHARACTERS = 1000
_SHOWN_KEYS = 20
_SEPARATORS = ("|", ";", ",")

Label: TypeAlias = str | int | float | bool


class LabelGuide:
    """Takes labels from a mapping of row ids; only these rows are sampled.

    Instantiate:
        ```python
        guide = LabelGuide({"ticket-17": "lost data", "ticket-3": ["bug", "slow performance"]})
        guide = LabelGuide({"ticket-17": 1, "ticket-3": 0, "ticket-5": None})  # 5 has no label
        ```
    """

    def __init__(self, labels: Mapping[str, Label | Sequence[Label | None] | None]) -> None:
        """Keep a copy of the labels.

        Args:
            labels: One label or several for each id; None is none. Numbers are labels by their
                decimal form.

        Raises:
            GuideError: It is no mapping of ids to labels, or holds no label.
        """
        pairs = labels.items() if isinstance(labels, Mapping) else ()
        checked = ((row, _checked(row, value)) for row, value in pairs)
        self._labels = {row: names for row, names in checked if names}
        if not self._labels:
            raise GuideError(
                f"LabelGuide got no labels in {shown(labels)}. Pass a mapping of ids to labels: "
                '{"ticket-17": "lost data", "ticket-3": ["bug", "slow performance"]}.'
            )

    def __repr__(self) -> str:
        """The number of rows; labels themselves may be private."""
        return f"LabelGuide(<{len(self._labels)} rows>)"

    @property
    def key(self) -> str:
        """`labels:<digest>` of ids and labels."""
        return f"labels:{digest(sorted([row, *sorted(x)] for row, x in self._labels.items()))}"

    def ids(self) -> Sequence[str]:
        """The rows that have labels, sorted."""
        return sorted(self._labels)

    def judge(self, instruction: str, sample: Rows) -> Labels:
        """Look up each row; a `GuideError` if no sampled row has a label."""
        del instruction
        labels = Labels(tuple(self._labels.get(row, frozenset()) for row in sample.ids))
        if not labels.judged.any():
            raise GuideError(
                f"None of the {len(sample)} sampled rows is among the {len(self._labels)} labelled "
                f"ids. Sampled ids look like {list(sample.ids[:3])}, labelled ids like "
                f"{self.ids()[:3]}. Label rows by the ids of the collection."
            )
        return labels


class MetadataGuide(OfAnyRow):
    """Takes the labels of an instruction from one metadata key.

    Rows without the key, or with an empty value, are not judged; nor are those whose value is no
    name: more than 256 labels, or one of more than 1,000 characters. The instruction itself is not
    read: it names the transform, the key teaches it.

    Instantiate:
        ```python
        guide = MetadataGuide("language")
        guide = MetadataGuide("tags", separator="|")
        ```

    Usage:
        ```python
        retriever = InstructionTransformRetriever(vectorstore=chroma, guide=guide)
        retriever.invoke("image viewer", instruction="What programming language is it written in?")
        ```
    """

    def __init__(self, metadata_key: str, *, separator: str | None = None) -> None:
        """Choose the key of the metadata.

        Args:
            metadata_key: Key of the metadata that holds the label.
            separator: Splits one string into several labels, for example "|" or ",". Values that
                are lists hold several labels without it.

        Raises:
            ConfigError: The key or the separator is empty or no string.
        """
        for text in (metadata_key, "," if separator is None else separator):
            if not isinstance(text, str) or not text:
                raise ConfigError(
                    f"MetadataGuide needs a metadata key and a separator that are texts and not "
                    f"empty, got {metadata_key!r} and {separator!r}. Leave separator out for "
                    "single labels."
                )
        self.metadata_key = metadata_key
        self.separator = separator

    def __repr__(self) -> str:
        """As constructed."""
        return f"MetadataGuide({self.metadata_key!r}, separator={self.separator!r})"

    @property
    def key(self) -> str:
        """`metadata:<key>`, or `metadata-split:["<key>", "<separator>"]`."""
        if self.separator is None:
            return f"metadata:{self.metadata_key}"
        return f"metadata-split:{json.dumps([self.metadata_key, self.separator])}"

    def judge(self, instruction: str, sample: Rows) -> Labels:
        """Read the key of each row.

        Raises:
            GuideError: No sampled row has the key; the message names the keys that exist.
        """
        del instruction
        values = [metadata.get(self.metadata_key) for metadata in sample.metadatas]
        labels = Labels(tuple(labels_of(value, self.separator) for value in values))
        if not labels.judged.any():
            raise GuideError(
                f"None of the {len(sample)} sampled rows has the metadata key "
                f"{self.metadata_key!r}. Keys that exist: {_known_keys(sample.metadatas)}. Name "
                "one of these, or use another guide."
            )
        if self.separator is None:
            _hint_at_separator(self.metadata_key, values)
        return labels


def _hint_at_separator(key: str, values: Sequence[object]) -> None:
    """Warn where texts look like lists: split, there are less than half as many labels."""
    texts = [value for value in values if isinstance(value, str)]
    for separator in _SEPARATORS:
        listed = [text for text in texts if separator in text]
        if 2 * len(listed) < len(texts):  # most samples, of which nothing is split
            continue
        parts = frozenset().union(*(labels_of(text, separator) for text in texts))
        if 2 * len(parts) < len(set(texts)):
            warn(
                f"Values of {key!r} look like lists, such as {listed[0]!r:.60}: "
                f"{len(set(texts)):,} labels as they are, {len(parts):,} when split. To split "
                f"them, pass MetadataGuide({key!r}, separator={separator!r}); on the command line "
                f"--separator {separator!r}."
            )
            return


def labels_of(value: object, separator: str | None = None) -> frozenset[str]:
    """Labels without surrounding white space; none for a value that is too long or too many."""
    if separator and isinstance(value, str):
        value = value.split(separator, MOST_LABELS)
    labels = [str(one) for one in _several(value)]
    if len(labels) > MOST_LABELS or any(len(label) > MOST_CHARACTERS for label in labels):
        return frozenset()
    return frozenset(label.strip() for label in labels if label.strip())


def _checked(row: object, value: object) -> frozenset[str]:
    if not isinstance(row, str) or not all(isinstance(one, Label) for one in _several(value)):
        raise GuideError(
            f"LabelGuide got {shown(value)} for the id {shown(row)}. Ids are the texts under which "
            "rows are stored. A label is a text or a number, several are a list of these, and None "
            'is none. Pass {"ticket-17": "lost data"}.'
        )
    return labels_of(value)


def _several(value: object) -> list[object]:
    """What a value holds, as Python's own values for numpy's; neither None nor NaN."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    several = plain if isinstance(plain, list | tuple | set | frozenset) else [plain]
    return [x for x in several if not (x is None or (isinstance(x, float) and math.isnan(x)))]


def _known_keys(metadatas: Sequence[Metadata]) -> str:
    counts = Counter(key for metadata in metadatas for key in metadata if not key.startswith("_"))
    names = sorted(counts, key=lambda key: (-counts[key], key))[:_SHOWN_KEYS]
    return ", ".join(map(repr, names)) or "none, the rows carry no metadata"


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
        several = isinstance(judgements, Iterable) and not isinstance(judgements, str | Mapping)
        found: dict[tuple[str, str], Judgement] = {}
        for one in map(_judgement, judgements if several else ()):
            found.pop((one.query, one.id), None)
            found[one.query, one.id] = one
        if not found:
            given = "none" if several else shown(judgements)
            raise GuideError(
                f"JudgementGuide wants judgements, got {given}. Pass (query, id, relevant) "
                'triples, such as [("it ate my photos", "ticket-17", True)].'
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

        The instruction is not read: judgements are about one respect of the texts already.

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
