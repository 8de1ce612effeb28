"""Every error this project raises on purpose, below `InstructEmbeddingsError`.

Messages have four parts: what happened, the value seen, what is allowed, what to do. Each member
also inherits the builtin that a caller would expect.
"""


class InstructEmbeddingsError(Exception):
    """Root of all errors raised by this project."""


class ConfigError(InstructEmbeddingsError, ValueError):
    """An argument or a setting is out of its range."""


class InstructionError(ConfigError):
    """An instruction is empty, too long or not a string, or its examples make no sense."""


class MissingExtraError(InstructEmbeddingsError, ImportError):
    """An optional dependency is missing; the message names the extra that brings it."""


class CollectionError(InstructEmbeddingsError):
    """The stored collection cannot be used as asked."""


class EmptyCollectionError(CollectionError, ValueError):
    """The collection holds no vectors."""


class CollectionMismatchError(CollectionError, ValueError):
    """The query vector and the stored vectors do not belong together."""


class InvalidVectorsError(CollectionError, ValueError):
    """Stored or given vectors hold NaN or infinite numbers, or have no direction."""


class StaleCollectionError(CollectionError, RuntimeError):
    """Another process changed an embedded collection, and this one reads old files."""


class UnreachableCollectionError(CollectionError, ConnectionError):
    """The server of a collection does not answer, or answers with something else."""


class UnsupportedCollectionError(CollectionError, TypeError):
    """The given object is not a collection whose vectors can be read."""


class GuideError(InstructEmbeddingsError, ValueError):
    """The guide found nothing to learn from."""


class TransformError(InstructEmbeddingsError):
    """A stored or fitted transform cannot be used."""


class TransformMismatchError(TransformError, ValueError):
    """The transform belongs to another collection."""


class ArtefactError(TransformError, ValueError):
    """A transform artefact is damaged, foreign, or written by a newer version."""


class EncoderError(InstructEmbeddingsError):
    """An encoder cannot be loaded or used."""


class ModelNotFoundError(EncoderError, OSError):
    """A model is neither a folder nor in reach of the model hub."""


class CheckpointError(EncoderError, ValueError):
    """A checkpoint is damaged, foreign, or written by a newer version."""


class ClosedEncoderError(EncoderError, RuntimeError):
    """The encoder was closed."""


class EncoderMemoryError(EncoderError, MemoryError):
    """Memory ran out although the batch holds a single text."""


class WorkerError(EncoderError, RuntimeError):
    """The process that serves a device stopped."""


class TextError(InstructEmbeddingsError, ValueError):
    """A text holds what no tokenizer reads, such as half of a surrogate pair."""


class DataError(InstructEmbeddingsError, ValueError):
    """A file of records is missing, unreadable or malformed."""


class TransformWarning(UserWarning):
    """A transform was fitted but does not clearly beat the generic vectors on held-out rows."""


class TruncationWarning(UserWarning):
    """Texts were longer than the model reads; their ends were not embedded."""
