"""Artefacts on disk: safetensors with a description as JSON in the header.

They are read within limits, since others may have written them, and written whole or not at all.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from instruct_embeddings import _reading
from instruct_embeddings._reading import brief, parse_json, safetensors_header
from instruct_embeddings._types import FloatArray
from instruct_embeddings._version import __version__
from instruct_embeddings.errors import ArtefactError, InstructEmbeddingsError

T = TypeVar("T")

MAX_BYTES = 256 * 1024 * 1024
# Of any axis of a map: small files with longer ones would ask for large arrays at every search.
LONGEST_AXIS = 65_536
# Of any number: products of larger ones would overflow.
_LARGEST = 1e9
# What reading a damaged description or its tensors may raise.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


_PREFIX = ".writing-"
# What a killed process began to write is removed by a later write; nothing takes so long to write.
_ABANDONED_AFTER = 24 * 3600.0


def pack(tensors: Mapping[str, FloatArray], header: str, about: Mapping[str, Any]) -> bytes:
    """An artefact as bytes; equal contents give equal bytes."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    return save(contiguous, metadata={header: json.dumps(about)})


def describe(
    data: bytes, header: str, versions: Sequence[int], *, what: str, remedy: str
) -> dict[str, Any]:
    """The description under a key of the header of an artefact, without building any array.

    `versions` of the format are readable; messages say what the file should be, and a remedy.

    Raises:
        ArtefactError: There is none, it is too long, or its `format_version` is not known.
    """
    try:
        about = parse_json(safetensors_header(data)["__metadata__"][header])
        version = about["format_version"]
    except MALFORMED as exc:
        raise ArtefactError(
            f"The file is not a {what} of this package, or it is cut off ({brief(exc)}). {remedy}"
        ) from exc
    if version not in versions or isinstance(version, bool):
        known = " to ".join(dict.fromkeys(f"{one}" for one in (versions[0], versions[-1])))
        raise ArtefactError(
            f"The {what} has format_version {version!r:.60}; this version ({__version__}) reads "
            f"{known}. Upgrade the package; or else: {remedy}"
        )
    return dict(about)


def unpack(
    data: bytes, build: Callable[[Mapping[str, FloatArray]], T], *, what: str, remedy: str
) -> T:
    """What is built of the arrays of an artefact; an `ArtefactError` if they do not fit."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
        _check_tensors(tensors)
        return build(tensors)
    except (SafetensorError, InstructEmbeddingsError, *MALFORMED) as exc:
        problem = f"The {what} is damaged or incomplete ({brief(exc)}). {remedy}"
        raise ArtefactError(problem) from exc


def _check_tensors(tensors: Mapping[str, FloatArray]) -> None:
    """A `ValueError` for arrays that are not float32, not finite, or too large."""
    for array in tensors.values():
        if array.dtype != np.float32:
            raise ValueError(f"its maps are {array.dtype}, not float32")
        if max(array.shape, default=0) > LONGEST_AXIS:
            raise ValueError(f"an axis of its maps is longer than {LONGEST_AXIS:,}")
        check_number(array)


def check_number(value: FloatArray | float) -> None:
    """Refuse numbers that are not finite, or so large that products would overflow."""
    # Written so that it is refused where a comparison with NaN says no.
    if not np.abs(value).max(initial=0.0) <= _LARGEST:
        raise ValueError(f"it holds numbers that are not finite, or larger than {_LARGEST:g}")


def read_limited(file: Path) -> bytes:
    """The bytes of an artefact; see `_reading.read_limited`."""
    try:
        return _reading.read_limited(file, MAX_BYTES)
    except _reading.TooLargeError as exc:
        raise ArtefactError(
            f"{file} has {exc.size:,} bytes; an artefact has at most {MAX_BYTES:,}. It is not one "
            "of ours: remove it."
        ) from exc


def write_whole(file: Path, data: bytes) -> Path:
    """Put a file in place; see `written_whole`."""
    with written_whole(file) as stream:
        stream.write(data)
    return file


@contextlib.contextmanager
def written_whole(file: Path) -> Iterator[IO[bytes]]:
    """A stream whose bytes become a file at the end; its folder is made if it is not there.

    The bytes reach the disk under another name first, so a crash leaves the old file or the new.

    Raises:
        OSError: It cannot be written; the old file stays and nothing else is left behind.
    """
    name, size = "", 0
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_PREFIX, dir=file.parent)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            size = stream.tell()
            stream.flush()
            os.fsync(stream.fileno())
        _sweep(Path(name))
        os.replace(name, file)
    except BaseException as exc:
        if name:
            Path(name).unlink(missing_ok=True)
        if not isinstance(exc, OSError):
            raise
        # The same class again: Python chooses it by the number.
        raise OSError(
            exc.errno,
            f"{exc.strerror or exc}: {size:,} bytes could not be written, what was there "
            "before is as it was. Make room or choose a folder that can be written",
            str(file),
        ) from exc


def _sweep(own: Path) -> None:
    """Remove what killed processes left behind, by the clock of the file system alone."""
    for other in own.parent.glob(f"{_PREFIX}*"):
        # Another process may sweep too, or be done with its file by now.
        with contextlib.suppress(OSError):
            if own.stat().st_mtime - other.stat().st_mtime > _ABANDONED_AFTER:
                other.unlink()
