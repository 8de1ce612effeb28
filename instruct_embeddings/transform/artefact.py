"""A transform as one file: safetensors, with its description as JSON in the header."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, get_args

import numpy as np

from instruct_embeddings._reading import brief, parse_json, safetensors_header
from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings._version import __version__
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ArtefactError, InstructEmbeddingsError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.transform.query import Correction, Gate, QueryTransform
from instruct_embeddings.transform.report import STOPS, FitReport
from instruct_embeddings.transform.space import Classifier, SpaceTransform, VectorEncoder
from instruct_embeddings.transform.transform import InstructionTransform, Norms, transform_key

# 2 added corrections by judgements, 3 the report of judged questions. What was written as 1 or 2
# reads as a 3 without them.
FORMAT_VERSION = 3
_READABLE = (1, 2, 3)
_LONGEST_QUERY = 1.01
MAX_BYTES = 256 * 1024 * 1024
# Of any axis of a map: small files with longer ones would ask for large arrays at every search.
LONGEST_AXIS = 65_536
# Of any number: products of larger ones would overflow.
_LARGEST = 1e9
_HEADER = "instruct_embeddings"
_CORRECTION = tuple(field.name for field in fields(Correction))
# What reading a damaged description or its tensors may raise.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


def to_bytes(transform: InstructionTransform) -> bytes:
    """Serialise a transform; equal transforms give equal bytes."""
    from safetensors.numpy import save

    return save(_tensors(transform), metadata={_HEADER: json.dumps(_describe(transform))})


def from_bytes(data: bytes) -> InstructionTransform:
    """The reverse of `to_bytes`.

    Raises:
        ArtefactError: The bytes are damaged, foreign, or written by a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    about = read_description(data)
    try:
        tensors = load(data)
        return _build(about, tensors)
    except (SafetensorError, InstructEmbeddingsError, *MALFORMED) as exc:
        raise ArtefactError(
            f"The artefact is damaged or incomplete ({brief(exc)}). "
            "Delete it; the next search under its instruction fits it again."
        ) from exc


def read_description(data: bytes) -> dict[str, Any]:
    """The JSON description in the header, without building any array.

    Raises:
        ArtefactError: There is none, it is too long, or its `format_version` is not known.
    """
    try:
        header = safetensors_header(data)
        about = parse_json(header["__metadata__"][_HEADER])
        version = about["format_version"]
    except MALFORMED as exc:
        raise ArtefactError(
            f"The file is not a transform of this package, or it is cut off ({brief(exc)}). Delete "
            "it; the next search under its instruction fits it again."
        ) from exc
    if version not in _READABLE or isinstance(version, bool):
        raise ArtefactError(
            f"The artefact has format_version {version!r:.60}; this version ({__version__}) reads "
            f"{_READABLE[0]} to {_READABLE[-1]}. Upgrade the package, or delete the artefact to "
            "fit it again."
        )
    return dict(about)


def summarise(about: Mapping[str, Any]) -> tuple[str, str, CollectionInfo, FitReport, str]:
    """(instruction, guide, collection, report, created) of a description.

    Raises:
        ArtefactError: A field is missing or has the wrong form.
    """
    try:
        instruction, guide, created = (about[name] for name in ("instruction", "guide", "created"))
        collection = CollectionInfo(**about["collection"])
        report = FitReport.from_dict(about["report"])
        texts = (created, collection.name, collection.id)
        if collection.space not in get_args(Space) or not all(isinstance(t, str) for t in texts):
            raise ValueError(f"the space {collection.space!r} or time {created!r} is unknown")
        if type(collection.dimension) is not int or not 0 < collection.dimension <= LONGEST_AXIS:
            raise ValueError(f"a dimension is a number from 1 to {LONGEST_AXIS:,}")
        # Both fail for values of another type, which would show only in a later search or listing.
        transform_key(instruction, guide, collection)
        str(report)
        _check_report(report)
        return instruction, guide, collection, report, created
    except MALFORMED as exc:
        raise ArtefactError(
            f"The description of the artefact is incomplete or wrong ({brief(exc)}). Delete it; "
            "the next search under its instruction fits it again."
        ) from exc


def _describe(transform: InstructionTransform) -> dict[str, Any]:
    space = transform.space
    return {
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
        "query": {"residual": transform.query.residual, "gate": transform.query.gate},
        "space": {"weight": space.weight, "layers": len(space.encoder.layers)},
    }


def _tensors(transform: InstructionTransform) -> dict[str, FloatArray]:
    query, space = transform.query, transform.space
    tensors = {
        "query.gates": query.gates,
        "query.bias": query.bias,
        "query.directions": query.directions,
    }
    for index, (weights, bias) in enumerate(space.encoder.layers):
        tensors[f"space.{index}.weights"], tensors[f"space.{index}.bias"] = weights, bias
    if space.classifier is not None:
        tensors["classifier.weights"] = space.classifier.weights
        tensors["classifier.bias"] = space.classifier.bias
    if query.correction is not None:
        tensors |= {f"correction.{name}": getattr(query.correction, name) for name in _CORRECTION}
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def _build(about: Mapping[str, Any], tensors: Mapping[str, FloatArray]) -> InstructionTransform:
    instruction, guide, collection, report, created = summarise(about)
    query = QueryTransform(
        residual=float(about["query"]["residual"]),
        gates=tensors["query.gates"],
        bias=tensors["query.bias"],
        directions=tensors["query.directions"],
        gate=about["query"]["gate"],
        correction=_correction(tensors),
    )
    layers = tuple(
        (tensors[f"space.{index}.weights"], tensors[f"space.{index}.bias"])
        for index in range(int(about["space"]["layers"]))
    )
    classifier = None
    if "classifier.weights" in tensors:
        classifier = Classifier(tensors["classifier.weights"], tensors["classifier.bias"])
    built = InstructionTransform(
        instruction=instruction,
        guide=guide,
        collection=collection,
        query=query,
        space=SpaceTransform(VectorEncoder(layers), classifier, float(about["space"]["weight"])),
        mix=float(about["mix"]),
        norms=Norms(**about["norms"]),
        report=report,
        config=FitConfig.from_dict(about["config"]),
        created=created,
    )
    _check(built, tensors)
    return built


def _correction(tensors: Mapping[str, FloatArray]) -> Correction | None:
    if not any(name.startswith("correction.") for name in tensors):
        return None
    return Correction(**{name: tensors[f"correction.{name}"] for name in _CORRECTION})


def _check_report(report: FitReport) -> None:
    """Refuse what `str` of a report would show without a word, and JSON could not carry on."""
    kinds = {field.name: field.type for field in fields(report)}
    numbers = [getattr(report, name) for name, kind in kinds.items() if kind in (int, float)]
    numbers += [*report.label_counts.values(), *report.chosen.values(), *sum(report.growth, ())]
    if report.judgements is not None:
        numbers += asdict(report.judgements).values()
    if report.questions is not None:
        report.questions.check()
    if report.stopped not in (None, *STOPS):
        raise ValueError(f"its sample was stopped by {report.stopped!r:.40}")
    if not isinstance(report.measure, str) or not all(map(math.isfinite, numbers)):
        raise ValueError("its report holds numbers that are not finite")


def _check(transform: InstructionTransform, tensors: Mapping[str, FloatArray]) -> None:
    """Refuse numbers that are none, then apply both parts once: shapes that do not fit show."""
    query, space, norms = transform.query, transform.space, transform.norms
    if any(array.dtype != np.float32 for array in tensors.values()):
        raise ValueError("its maps are of another type than float32")
    numbers = [query.residual, transform.mix, space.weight, norms.mean, norms.spread]
    for values in (*tensors.values(), np.array(numbers)):
        # Written so that it is refused where a comparison with NaN says no.
        if not np.abs(values).max(initial=0.0) <= _LARGEST:
            raise ValueError(f"it holds numbers that are not finite, or larger than {_LARGEST:g}")
    if not (0 <= transform.mix <= 1 and 0 <= space.weight <= 1):
        raise ValueError("a share is outside [0, 1]")
    if query.gate not in get_args(Gate) or not space.encoder.layers:
        raise ValueError("its gate is unknown, or its encoder has no layer")
    _check_shapes(transform, tensors)
    probe = np.full((1, transform.collection.dimension), 0.5, dtype=np.float32)
    with np.errstate(over="ignore"):
        if query.fold(probe).shape != probe.shape or space.score(probe, probe).shape != (1, 1):
            raise ValueError("the shapes of its maps do not fit together")


def _check_shapes(transform: InstructionTransform, tensors: Mapping[str, FloatArray]) -> None:
    query, space, dimension = transform.query, transform.space, transform.collection.dimension
    if any(max(array.shape, default=0) > LONGEST_AXIS for array in tensors.values()):
        raise ValueError(f"an axis of its maps is longer than {LONGEST_AXIS:,}")
    shape = (len(query.bias), dimension)
    if query.bias.ndim != 1 or query.gates.shape != shape or query.directions.shape != shape:
        raise ValueError(f"its query maps do not have the shape {shape}")
    if space.classifier is not None:
        _check_map(space.classifier.weights, space.classifier.bias, dimension)
    width = dimension
    for weights, bias in space.encoder.layers:
        _check_map(weights, bias, width)
        width = len(bias)
    _check_correction(query.correction, dimension)


def _check_map(weights: FloatArray, bias: FloatArray, width: int) -> None:
    # A bias of another shape would be broadcast, to whatever size.
    if bias.ndim != 1 or weights.shape != (len(bias), width):
        raise ValueError(f"a map does not have the shape ({bias.size}, {width})")


def _check_correction(correction: Correction | None, dimension: int) -> None:
    if correction is None:
        return
    near = (len(correction.queries), dimension)
    everywhere = (len(correction.weights), dimension)
    fits = correction.queries.shape == correction.moves.shape == near
    if not (fits and correction.axes.shape == everywhere and correction.weights.ndim == 1):
        raise ValueError(f"its correction does not have the shapes {near} and {everywhere}")
    # Longer ones would overflow in the exponential; a fit makes them of unit length.
    if np.linalg.norm(correction.queries, axis=1).max(initial=0.0) > _LONGEST_QUERY:
        raise ValueError("the judged queries of its correction are not of unit length")
