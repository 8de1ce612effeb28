"""The head of the instant query: from what the encoder read to a move of the query vector."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instruct_embeddings._reading import brief, parse_json, read_limited, safetensors_header
from instruct_embeddings._types import FloatArray
from instruct_embeddings._version import __version__
from instruct_embeddings.errors import CheckpointError
from instruct_embeddings.transform.files import MALFORMED

HEAD_FILE = "instant_query.safetensors"
FORMAT_VERSION = 1
_HEADER = "instruct_embeddings_instant"
_MAX_BYTES = 64 * 1024 * 1024
_LARGEST = 1e6


@dataclass(frozen=True, eq=False)
class MoveHead:
    """Moves a query vector by what an encoder read of query and instruction.

    With the embedding `z` of a query under its instruction and its generic unit vector `v`,

        move = longest * trust(z, v) * tanh(|x|) / |x| * x,    x = W z + b,
        trust(z, v) = sigmoid(u . tanh(T [z, v] + t) + c).

    The length is bounded, and `trust` is learned: an instruction that asks for nothing that the
    encoder has learned gives a short move, which leaves the ranking as it is.

    Attributes:
        weights: `W`, shape (d, e).
        bias: `b`, shape (d,).
        trust_weights: `T`, shape (h, e + d).
        trust_bias: `t`, shape (h,).
        trust_out: `u` with `c` at its end, shape (h + 1,).
        longest: Longest move; the query vector has length 1.
        space: Name of the model whose vectors are moved.
    """

    weights: FloatArray
    bias: FloatArray
    trust_weights: FloatArray
    trust_bias: FloatArray
    trust_out: FloatArray
    longest: float
    space: str

    @property
    def dimension(self) -> int:
        """Length d of the vectors that are moved."""
        return len(self.bias)

    def moves(self, read: FloatArray, vectors: FloatArray) -> FloatArray:
        """Moves of query vectors, shape (n, d), each of length at most `longest`.

        `read` are embeddings of the queries under their instruction, shape (n, e), `vectors` their
        generic unit vectors, shape (n, d).
        """
        found = read @ self.weights.T + self.bias
        lengths = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)
        hidden = np.tanh(np.hstack([read, vectors]) @ self.trust_weights.T + self.trust_bias)
        trust = 1 / (1 + np.exp(-(hidden @ self.trust_out[:-1] + self.trust_out[-1])))
        scale = self.longest * trust[:, None] * np.tanh(lengths) / lengths
        return np.asarray(scale * found, dtype=np.float32)

    def to_bytes(self) -> bytes:
        """As a file: safetensors with a description in the header."""
        from safetensors.numpy import save

        about = {
            "format_version": FORMAT_VERSION,
            "written_by": __version__,
            "longest": self.longest,
            "space": self.space,
        }
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in _TENSORS}
        return save(tensors, metadata={_HEADER: json.dumps(about)})

    @classmethod
    def read(cls, file: Path) -> "MoveHead":
        """Read what `to_bytes` gave; CheckpointError where it is missing, damaged or newer."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            data = read_limited(file, _MAX_BYTES)
            about = parse_json(safetensors_header(data)["__metadata__"][_HEADER])
            version = about["format_version"]
            if version != FORMAT_VERSION or isinstance(version, bool):
                raise CheckpointError(
                    f"{file} has format_version {version!r:.60}; this version ({__version__}) "
                    f"reads {FORMAT_VERSION}. Upgrade the package."
                )
            tensors = load(data)
            arrays = {name: tensors[name] for name in _TENSORS}
            head = cls(**arrays, longest=float(about["longest"]), space=str(about["space"]))
            head._check(list(arrays.values()))
        except (OSError, SafetensorError, *MALFORMED) as exc:
            if isinstance(exc, CheckpointError):
                raise
            raise CheckpointError(
                f"{file} is no readable head of an instant query ({brief(exc)}). Pass the folder "
                "of a whole checkpoint, or train it again."
            ) from exc
        return head

    def _check(self, arrays: Sequence[FloatArray]) -> None:
        """Refuse shapes and numbers that would fail, or mislead, only when a query is moved."""
        if any(array.dtype != np.float32 for array in arrays):
            raise ValueError("its maps are of another type than float32")
        # Written so that it is refused where a comparison with NaN says no.
        if not all(np.abs(array).max(initial=0.0) <= _LARGEST for array in arrays):
            raise ValueError(f"it holds numbers that are not finite, or larger than {_LARGEST:g}")
        (d, e), h = self.weights.shape, len(self.trust_bias)
        shapes = [array.shape for array in arrays]
        if shapes != [(d, e), (d,), (h, e + d), (h,), (h + 1,)] or not 0 < self.longest <= 10:
            raise ValueError(f"its maps have shapes {shapes}, which do not fit together")


_TENSORS = ("weights", "bias", "trust_weights", "trust_bias", "trust_out")
