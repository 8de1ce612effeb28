"""Transforms on disk: one safetensors file each, described by JSON in its header, in one folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from instruct_embeddings._reading import brief, read_plain
from instruct_embeddings._types import FloatArray
from instruct_embeddings._version import __version__
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ArtefactError, ConfigError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.transform.files import (
    LONGEST_AXIS,
    MALFORMED,
    check_number,
    describe,
    pack,
    read_limited,
    unpack,
    write_whole,
)
from instruct_embeddings.transform.report import FitReport
from instruct_embeddings.transform.transform import (
    DEEPEST_PREFETCH,
    DEFAULT_PREFETCH,
    Classifier,
    Correction,
    Gate,
    InstructionTransform,
    Norms,
    QueryTransform,
    SpaceTransform,
    VectorEncoder,
    transform_key,
)

# 2 added corrections by judgements, 3 the report of judged questions. What was written as 1 or 2
# reads as a 3 without them.
FORMAT_VERSION = 3
_READABLE = (1, 2, 3)
_LONGEST_QUERY = 1.01
_HEADER = "instruct_embeddings"
_SUFFIX = ".safetensors"
_CORRECTION = tuple(field.name for field in fields(Correction))
_DESCRIPTION = {"instruction": str, "guide": str, "created": str, "collection": CollectionInfo}
_REMEDY = "Delete it; the next search under its instruction fits it again."


@dataclass(frozen=True)
class TransformSummary:
    """One line of a listing.

    Attributes:
        key: Name of the transform in its store.
        path: Its file.
        instruction: The instruction; empty for a damaged artefact, as are the next two.
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
    """A folder of transforms that the next process finds again, one self-describing file each.

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
        """The transform for an instruction (normalised), a guide and a collection; see `get`."""
        return self.get(transform_key(instruction, guide, collection))

    def get(self, key: str) -> InstructionTransform | None:
        """The transform of a key, if stored.

        Raises:
            ArtefactError: It is stored, but unreadable, damaged or written by a newer version.
        """
        file = self._file(key)
        try:
            data = read_limited(file)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise ArtefactError(
                f"{file} cannot be read ({exc.strerror or exc}). Remove it or correct its "
                "permissions; the next search under its instruction fits it again."
            ) from exc
        transform = from_bytes(data)
        if transform.key != key:
            raise ArtefactError(
                f"{file} holds the transform {transform.key}, not {key}: it was renamed or "
                f"replaced. {_REMEDY}"
            )
        return transform

    def put(self, transform: InstructionTransform) -> Path:
        """Write a transform, replacing one of the same key, or not at all (OSError)."""
        return write_whole(self._file(transform.key), to_bytes(transform))

    def keys(self) -> list[str]:
        """Keys of all stored transforms, sorted."""
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
        return write_whole(file, to_bytes(transform))

    def _file(self, key: str) -> Path:
        if not key or not set(key) <= set("0123456789abcdef"):
            raise ConfigError(
                f"{key!r} is not the key of a transform: keys are hexadecimal, as listed by keys()."
            )
        return self.path / f"{key}{_SUFFIX}"

    def _summary(self, key: str) -> TransformSummary:
        file = self.path / f"{key}{_SUFFIX}"
        try:
            return TransformSummary(key, file, **_summarise(read_description(read_limited(file))))
        except (ArtefactError, OSError) as exc:
            return TransformSummary(key, file, problem=str(exc))


def to_bytes(transform: InstructionTransform) -> bytes:
    """Serialise a transform; equal transforms give equal bytes."""
    query, space = transform.query, transform.space
    about = {
        "format_version": FORMAT_VERSION,
        "written_by": __version__,
        "instruction": transform.instruction,
        "guide": transform.guide,
        "collection": asdict(transform.collection),
        "created": transform.created,
        "config": transform.config.to_dict(),
        "report": transform.report.to_dict(),
        "norms": asdict(transform.norms),
        "mix": transform.mix,
        "prefetch": transform.prefetch,
        "query": {"residual": query.residual, "gate": query.gate},
        "space": {"weight": space.weight, "layers": len(space.encoder.layers)},
    }
    tensors = {f"query.{name}": getattr(query, name) for name in ("gates", "bias", "directions")}
    for index, (weights, bias) in enumerate(space.encoder.layers):
        tensors[f"space.{index}.weights"], tensors[f"space.{index}.bias"] = weights, bias
    if space.classifier is not None:
        tensors["classifier.weights"] = space.classifier.weights
        tensors["classifier.bias"] = space.classifier.bias
    if query.correction is not None:
        tensors |= {f"correction.{name}": getattr(query.correction, name) for name in _CORRECTION}
    return pack(tensors, _HEADER, about)


def from_bytes(data: bytes) -> InstructionTransform:
    """The reverse of `to_bytes`; an `ArtefactError` for bytes that are no transform of ours."""
    about = read_description(data)
    build = partial(_build, about, _summarise(about))
    return unpack(data, build, what="artefact", remedy=_REMEDY)


def read_description(data: bytes) -> dict[str, Any]:
    """The JSON description in the header; see `describe`."""
    return describe(data, _HEADER, _READABLE, what="transform", remedy=_REMEDY)


def _summarise(about: Mapping[str, Any]) -> dict[str, Any]:
    """Checked instruction, guide, created, collection and report of a description."""
    try:
        found = {name: read_plain(kind, about[name]) for name, kind in _DESCRIPTION.items()}
        found["report"] = FitReport.from_dict(about["report"])
        if not 0 < found["collection"].dimension <= LONGEST_AXIS:
            raise ValueError(f"a dimension is a number from 1 to {LONGEST_AXIS:,}")
        # Fails for texts that could not be an instruction or be encoded.
        transform_key(found["instruction"], found["guide"], found["collection"])
    except MALFORMED as exc:
        raise ArtefactError(
            f"The description of the artefact is incomplete or wrong ({brief(exc)}). {_REMEDY}"
        ) from exc
    return found


def _build(
    about: Mapping[str, Any], summary: Mapping[str, Any], tensors: Mapping[str, FloatArray]
) -> InstructionTransform:
    correction = classifier = None
    if any(name.startswith("correction.") for name in tensors):
        correction = Correction(**{name: tensors[f"correction.{name}"] for name in _CORRECTION})
    if "classifier.weights" in tensors:
        classifier = Classifier(tensors["classifier.weights"], tensors["classifier.bias"])
    layers = tuple(
        (tensors[f"space.{index}.weights"], tensors[f"space.{index}.bias"])
        for index in range(read_plain(int, about["space"]["layers"]))
    )
    transform = InstructionTransform(
        **summary,
        query=QueryTransform(
            residual=read_plain(float, about["query"]["residual"]),
            gates=tensors["query.gates"],
            bias=tensors["query.bias"],
            directions=tensors["query.directions"],
            gate=read_plain(Gate, about["query"]["gate"]),
            correction=correction,
        ),
        space=SpaceTransform(
            VectorEncoder(layers), classifier, read_plain(float, about["space"]["weight"])
        ),
        mix=read_plain(float, about["mix"]),
        norms=read_plain(Norms, about["norms"]),
        config=FitConfig.from_dict(about["config"]),
        prefetch=read_plain(int, about.get("prefetch", DEFAULT_PREFETCH)),
    )
    _check(transform)
    return transform


def _check(transform: InstructionTransform) -> None:
    """Refuse what no search could use: shares out of range, and shapes that do not fit."""
    query, space, norms = transform.query, transform.space, transform.norms
    for number in (query.residual, transform.mix, space.weight, norms.mean, norms.spread):
        check_number(np.asarray(number))
    if not (0 <= transform.mix <= 1 and 0 <= space.weight <= 1):
        raise ValueError("a weight is outside [0, 1]")
    if not 1 <= transform.prefetch <= DEEPEST_PREFETCH:
        raise ValueError(f"its prefetch is not from 1 to {DEEPEST_PREFETCH}")
    if not space.encoder.layers:
        raise ValueError("its encoder has no layer")
    width = dimension = transform.collection.dimension
    _check_map(query.gates, query.bias, dimension)
    _check_map(query.directions, query.bias, dimension)
    if space.classifier is not None:
        _check_map(space.classifier.weights, space.classifier.bias, dimension)
    for weights, bias in space.encoder.layers:
        _check_map(weights, bias, width)
        width = len(bias)
    if (correction := query.correction) is not None:
        _check_map(correction.axes, correction.weights, dimension)
        near = (len(correction.queries), dimension)
        if not correction.queries.shape == correction.moves.shape == near:
            raise ValueError(f"its correction does not have the shape {near}")
        # Longer ones would overflow in the exponential; a fit makes them of unit length.
        if np.linalg.norm(correction.queries, axis=1).max(initial=0.0) > _LONGEST_QUERY:
            raise ValueError("the judged queries of its correction are not of unit length")


def _check_map(weights: FloatArray, bias: FloatArray, width: int) -> None:
    # A bias of another shape would be broadcast, to whatever size.
    if bias.ndim != 1 or weights.shape != (len(bias), width):
        raise ValueError(f"a map does not have the shape ({bias.size}, {width})")
