"""Artefacts on disk: read up to a limit, written whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from instruct_embeddings import _reading
from instruct_embeddings.errors import ArtefactError

_PREFIX = ".writing-"
# What a killed process began to write is removed by a later write; nothing takes so long to write.
_ABANDONED_AFTER = 24 * 3600.0


def read_limited(file: Path, limit: int) -> bytes:
    """The bytes of an artefact.

    Args:
        file: Where it is.
        limit: No artefact of ours has more bytes.

    Raises:
        ArtefactError: It is larger; nothing is read.
        OSError: It cannot be read, or it is a folder, a pipe or a device.
    """
    try:
        return _reading.read_limited(file, limit)
    except _reading.TooLargeError as exc:
        raise ArtefactError(
            f"{file} has {exc.size:,} bytes; an artefact has at most {limit:,}. It is not one of "
            "ours: remove it."
        ) from exc


def write_whole(file: Path, data: bytes) -> Path:
    """Put a file in place; its folder is made if it is not there.

    The bytes reach the disk under another name first, so a crash leaves the old file or the new.

    Raises:
        OSError: It cannot be written; the old file stays and nothing else is left behind.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(file, data)
    except OSError as exc:
        # The same class again: Python chooses it by the number.
        raise OSError(
            exc.errno,
            f"{exc.strerror or exc}: {len(data):,} bytes could not be written, what was there "
            "before is as it was. Make room or choose a folder that can be written",
            str(file),
        ) from exc
    return file


def _write(file: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=_PREFIX, dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        _sweep(Path(name))
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _sweep(own: Path) -> None:
    """Remove what killed processes left behind, by the clock of the file system alone."""
    now = own.stat().st_mtime
    for other in own.parent.glob(f"{_PREFIX}*"):
        # Another process may sweep too, or be done with its file by now.
        with contextlib.suppress(OSError):
            if now - other.stat().st_mtime > _ABANDONED_AFTER:
                other.unlink()
