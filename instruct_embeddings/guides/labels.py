"""Labels given by hand for some rows."""

import json
import math
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TypeAlias

from instruct_embeddings._reading import shown
from instruct_embeddings.errors import GuideError
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Labels

# Labels are names. Whatever has longer ones, or more of them, is something else: a text, a vector.
MOST_LABELS = 256
MOST_CHARACTERS = 1000

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
            labels: One label, or several, for each id; None is none. Numbers are labels by what is
                written for them.

        Raises:
            GuideError: It is no mapping of ids to labels, or holds no label.
        """
        if not isinstance(labels, Mapping):
            raise GuideError(
                f"LabelGuide got {shown(labels)}, and a mapping of ids to labels is wanted. "
                'Pass {"ticket-17": "lost data", "ticket-3": ["bug", "slow performance"]}.'
            )
        found = {row: _checked(row, value) for row, value in labels.items()}
        self._labels = {row: names for row, names in found.items() if names}
        if not self._labels:
            raise GuideError(
                f"LabelGuide got no labels for {len(found)} ids; at least one is wanted. "
                "Pass {id: label} for some rows."
            )

    def __repr__(self) -> str:
        """The number of rows; labels themselves may be private."""
        return f"LabelGuide(<{len(self._labels)} rows>)"

    @property
    def key(self) -> str:
        """`labels:<digest>`: other labels are another guide."""
        parts = sorted([row, *sorted(names)] for row, names in self._labels.items())
        return f"labels:{digest(parts)}"

    def ids(self) -> Sequence[str]:
        """The rows that have labels, sorted."""
        return sorted(self._labels)

    def judge(self, instruction: str, sample: Rows) -> Labels:
        """Look up each row.

        Raises:
            GuideError: No sampled row has a label.
        """
        del instruction
        labels = Labels(tuple(self._labels.get(row, frozenset()) for row in sample.ids))
        if not labels.judged.any():
            raise GuideError(
                f"None of the {len(sample)} sampled rows is among the {len(self._labels)} labelled "
                f"ids. Sampled ids look like {list(sample.ids[:3])}, labelled ids like "
                f"{self.ids()[:3]}. Label rows by the ids of the collection."
            )
        return labels


def labels_of(value: object, separator: str | None = None) -> frozenset[str]:
    """The labels that a value stands for.

    Args:
        value: One label or several of them: texts or numbers, also those of numpy. None, NaN and
            empty texts are none.
        separator: Splits one text into several labels.

    Returns:
        Labels without white space around them; none for what has more than 256 labels, or one of
        more than 1,000 characters.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple | set | frozenset):
        parts = [str(part) for part in value if not _is_missing(part)]
    elif _is_missing(value):
        parts = []
    else:
        parts = str(value).split(separator, MOST_LABELS) if separator else [str(value)]
    if len(parts) > MOST_LABELS or any(len(part) > MOST_CHARACTERS for part in parts):
        return frozenset()
    return frozenset(part.strip() for part in parts if part.strip())


def digest(parts: object) -> str:
    """Hexadecimal digest of plain data: what differs anywhere has another one."""
    return sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _checked(row: object, value: object) -> frozenset[str]:
    if not isinstance(row, str):
        raise GuideError(
            f"LabelGuide got labels for the id {shown(row)}, which is no text. Ids are the texts "
            "under which rows are stored. Pass {str(id): label}."
        )
    plain = value.tolist() if hasattr(value, "tolist") else value
    parts: list[object] = (
        list(plain) if isinstance(plain, list | tuple | set | frozenset) else [plain]
    )
    for part in parts:
        if not (part is None or isinstance(part, str | int | float)):
            raise GuideError(
                f"LabelGuide got {shown(value)} for the id {row!r}. A label is a text or a number, "
                "several are a list of these, and None is none. Pass one of these."
            )
    return labels_of(value)
