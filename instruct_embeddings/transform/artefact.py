"""A transform as one file: safetensors, with its description as JSON in the header."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, get_args

import numpy as np

from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings._version import __version__
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ArtefactError, InstructEmbeddingsError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.transform.classifier import Classifier
from instruct_embeddings.transform.correction import Correction
from instruct_embeddings.transform.query import Gate, QueryTransform
from instruct_embeddings.transform.report import FitReport
from instruct_embeddings.transform.space import SpaceTransform, VectorEncoder
from instruct_embeddings.transform.transform import InstructionTransform, Norms, transform_key

# 2 added corrections by judgements. What was written as 1 reads as a 2 without them.
FORMAT_VERSION = 2
_READABLE = (1, 2)
_LONGEST_QUERY = 1.01
MAX_BYTES = 256 * 1024 * 1024
_HEADER = "instruct_embeddings"
_CORRECTION = tuple(field.name for field in fields(Correction))
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


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
    except (SafetensorError, InstructEmbeddingsError, *_MALFORMED) as exc:
        raise ArtefactError(
            f"The artefact is damaged or incomplete ({type(exc).__name__}: {exc}). "
            "Delete it; the next search under its instruction fits it again."
        ) from exc


def read_description(data: bytes) -> dict[str, Any]:
    """The JSON description in the header, without building any array.

    Raises:
        ArtefactError: There is none, or its `format_version` is not known.
    """
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        about = json.loads(header["__metadata__"][_HEADER])
        version = about["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise ArtefactError(
            "The file is not a transform of this package, or it is cut off. Delete it; the next "
            "search under its instruction fits it again."
        ) from exc
    if version not in _READABLE or isinstance(version, bool):
        raise ArtefactError(
            f"The artefact has format_version {version!r}; this version ({__version__}) reads "
            f"{' and '.join(map(str, _READABLE))}. Upgrade the package, or delete the artefact to "
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
        if collection.space not in get_args(Space) or not isinstance(created, str):
            raise ValueError(f"the space {collection.space!r} or time {created!r} is unknown")
        # Both fail for values of another type, which would show only in a later search or listing.
        transform_key(instruction, guide, collection)
        str(report)
        return instruction, guide, collection, report, created
    except _MALFORMED as exc:
        raise ArtefactError(
            f"The description of the artefact is incomplete or wrong ({type(exc).__name__}: {exc})."
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


def _check(transform: InstructionTransform, tensors: Mapping[str, FloatArray]) -> None:
    """Refuse numbers that are none, then apply both parts once: shapes that do not fit show."""
    query, space, norms = transform.query, transform.space, transform.norms
    numbers = [query.residual, transform.mix, space.weight, norms.mean, norms.spread]
    if not all(np.isfinite(values).all() for values in (*tensors.values(), np.array(numbers))):
        raise ValueError("it holds numbers that are not finite")
    if not (0 <= transform.mix <= 1 and 0 <= space.weight <= 1):
        raise ValueError("a share is outside [0, 1]")
    if query.gate not in get_args(Gate) or not space.encoder.layers:
        raise ValueError("its gate is unknown, or its encoder has no layer")
    shape = (len(query.bias), transform.collection.dimension)
    if query.gates.shape != shape or query.directions.shape != shape:
        raise ValueError(f"its query maps do not have the shape {shape}")
    _check_correction(query.correction, shape[1])
    probe = np.full((1, shape[1]), 0.5, dtype=np.float32)
    if query.fold(probe).shape != probe.shape or space.score(probe, probe).shape != (1, 1):
        raise ValueError("the shapes of its maps do not fit together")


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
