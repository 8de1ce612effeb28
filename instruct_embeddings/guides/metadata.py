"""Labels that the collection already carries in its metadata."""

import json
from collections import Counter
from collections.abc import Sequence

from instruct_embeddings._types import Metadata
from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides.labels import labels_of
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Labels

_SHOWN_KEYS = 20


class MetadataGuide:
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
            ConfigError: The key or the separator is empty, or no text.
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
        """`metadata:<key>`; `metadata-split:["<key>", "<separator>"]` where there is one."""
        if self.separator is None:
            return f"metadata:{self.metadata_key}"
        return f"metadata-split:{json.dumps([self.metadata_key, self.separator])}"

    def ids(self) -> Sequence[str] | None:
        """None: any row may be sampled."""
        return None

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
        return labels


def _known_keys(metadatas: Sequence[Metadata]) -> str:
    counts = Counter(key for metadata in metadatas for key in metadata if not key.startswith("_"))
    names = sorted(counts, key=lambda key: (-counts[key], key))[:_SHOWN_KEYS]
    return ", ".join(map(repr, names)) or "none, the rows carry no metadata"
