"""A folder of transforms that the next process finds again."""

from dataclasses import dataclass
from pathlib import Path

from instruct_embeddings.errors import ArtefactError, ConfigError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.transform import artefact
from instruct_embeddings.transform.files import read_limited, write_whole
from instruct_embeddings.transform.report import FitReport
from instruct_embeddings.transform.transform import InstructionTransform, transform_key

_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class TransformSummary:
    """One line of a listing.

    Attributes:
        key: Name of the transform in its store.
        path: Its file.
        instruction: The instruction; empty for a damaged artefact, as are the next three.
        guide: Key of the guide.
        created: When it was fitted.
        collection: The collection it belongs to, or None.
        report: Its fit report, or None.
        problem: Why it cannot be read, or None.
    """

    key: str
    path: Path
    instruction: str = ""
    guide: str = ""
    created: str = ""
    collection: CollectionInfo | None = None
    report: FitReport | None = None
    problem: str | None = None


class TransformStore:
    """Self-describing artefacts in one folder, one file a transform.

    File names are digests, so no part of an instruction or of a collection's name reaches the file
    system. A file appears whole or not at all.
    """

    def __init__(self, path: str | Path) -> None:
        """Use a folder; it is created by the first `put`.

        A relative path is made absolute here: fits end in other threads, and later.
        """
        self.path = Path(path).expanduser().absolute()

    def __repr__(self) -> str:
        """`TransformStore('folder')`."""
        return f"TransformStore({str(self.path)!r})"

    def find(
        self, instruction: str, guide: str, collection: CollectionInfo
    ) -> InstructionTransform | None:
        """The transform for an instruction (normalised), a guide and a collection, if stored.

        Raises:
            ArtefactError: It is stored, but damaged or written by a newer version.
        """
        return self.get(transform_key(instruction, guide, collection))

    def get(self, key: str) -> InstructionTransform | None:
        """The transform of a key, if stored.

        Raises:
            ArtefactError: It is stored, but unreadable, damaged or written by a newer version.
        """
        file = self._file(key)
        try:
            data = read_limited(file, artefact.MAX_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise ArtefactError(
                f"{file} cannot be read ({exc.strerror or exc}). Remove it or correct its "
                "permissions; the next search under its instruction fits it again."
            ) from exc
        transform = artefact.from_bytes(data)
        if transform.key != key:
            raise ArtefactError(
                f"{file} holds the transform {transform.key}, not {key}: it was renamed or "
                "replaced. Delete it; the next search under its instruction fits it again."
            )
        return transform

    def put(self, transform: InstructionTransform) -> Path:
        """Write a transform, replacing one of the same key.

        The bytes reach the disk under another name first; a crash leaves the old file or the new.

        Raises:
            OSError: The folder cannot be written; nothing is left behind.
        """
        return write_whole(self._file(transform.key), artefact.to_bytes(transform))

    def keys(self) -> list[str]:
        """Keys of all stored transforms, sorted."""
        if not self.path.is_dir():
            return []
        return sorted(file.stem for file in self.path.glob(f"*{_SUFFIX}"))

    def summaries(self) -> list[TransformSummary]:
        """One summary a transform; damaged ones say so instead of stopping the listing."""
        return [self._summary(key) for key in self.keys()]

    def delete(self, key: str) -> bool:
        """Remove a transform; False if there was none."""
        try:
            self._file(key).unlink()
        except FileNotFoundError:
            return False
        return True

    def export(self, key: str, target: str | Path) -> Path:
        """Copy an artefact to a file.

        Raises:
            ConfigError: There is no such transform, the target exists, or its folder does not.
            ArtefactError: The artefact is damaged.
        """
        transform = self.get(key)
        if transform is None:
            raise ConfigError(f"No transform {key!r} in {self.path}; stored are {self.keys()}.")
        file = Path(target).expanduser()
        if file.exists():
            raise ConfigError(f"{file} exists already. Choose another name or remove it first.")
        if not file.parent.is_dir():
            raise ConfigError(f"There is no folder {file.parent}. Make it first, or name another.")
        return write_whole(file, artefact.to_bytes(transform))

    def _file(self, key: str) -> Path:
        if not key or not set(key) <= set("0123456789abcdef"):
            raise ConfigError(
                f"{key!r} is not the key of a transform: keys are hexadecimal, as listed by keys()."
            )
        return self.path / f"{key}{_SUFFIX}"

    def _summary(self, key: str) -> TransformSummary:
        file = self.path / f"{key}{_SUFFIX}"
        try:
            about = artefact.read_description(read_limited(file, artefact.MAX_BYTES))
            instruction, guide, collection, report, created = artefact.summarise(about)
        except (ArtefactError, OSError) as exc:
            return TransformSummary(key=key, path=file, problem=str(exc))
        return TransformSummary(
            key=key,
            path=file,
            instruction=instruction,
            guide=guide,
            created=created,
            collection=collection,
            report=report,
        )
