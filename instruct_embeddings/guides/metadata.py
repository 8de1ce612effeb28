"""Labels that the collection already carries in its metadata."""

from collections import Counter
from collections.abc import Sequence

from instruct_embeddings._types import Metadata
from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Labels

_SHOWN_KEYS = 20


class MetadataGuide:
    """Takes the labels of an instruction from one metadata key.

    Rows without the key, or with an empty value, are not judged. The instruction itself is not
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
        """Choose the key.

        Args:
            metadata_key: Key of the metadata that holds the label.
            separator: Splits one string into several labels, for example "|" or ",". Values that
                are lists hold several labels without it.

        Raises:
            ConfigError: The key or the separator is empty.
        """
        if not metadata_key or separator == "":
            raise ConfigError(
                f"MetadataGuide needs a metadata key and a separator that are not empty, got "
                f"{metadata_key!r} and {separator!r}. Leave separator out for single labels."
            )
        self.metadata_key = metadata_key
        self.separator = separator

    def __repr__(self) -> str:
        """As constructed."""
        return f"MetadataGuide({self.metadata_key!r}, separator={self.separator!r})"

    @property
    def key(self) -> str:
        """`metadata:<key>`, with the separator where there is one."""
        return f"metadata:{self.metadata_key}" + (f":{self.separator}" if self.separator else "")

    def ids(self) -> Sequence[str] | None:
        """None: any row may be sampled."""
        return None

    def judge(self, instruction: str, sample: Rows) -> Labels:
        """Read the key of each row.

        Raises:
            GuideError: No sampled row has the key; the message names the keys that exist.
        """
        del instruction
        labels = Labels(tuple(self._labels(metadata) for metadata in sample.metadatas))
        if not labels.judged.any():
            raise GuideError(
                f"None of the {len(sample)} sampled rows has the metadata key "
                f"{self.metadata_key!r}. Keys that exist: {_known_keys(sample.metadatas)}."
            )
        return labels

    def _labels(self, metadata: Metadata) -> frozenset[str]:
        value = metadata.get(self.metadata_key)
        if value is None:
            return frozenset()
        if isinstance(value, (list, tuple)):
            parts = [str(part) for part in value if part is not None]
        else:
            parts = str(value).split(self.separator) if self.separator else [str(value)]
        return frozenset(part.strip() for part in parts if part.strip())


def _known_keys(metadatas: Sequence[Metadata]) -> str:
    counts = Counter(key for metadata in metadatas for key in metadata if not key.startswith("_"))
    names = sorted(counts, key=lambda key: (-counts[key], key))[:_SHOWN_KEYS]
    return ", ".join(map(repr, names)) or "none, the rows carry no metadata"
