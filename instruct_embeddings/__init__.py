"""Instruction-conditioned retrieval over the vectors you already have.

Importing this package loads no heavy dependency; each name below is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from instruct_embeddings._extras import lazy_exports
from instruct_embeddings._version import __version__

if TYPE_CHECKING:
    from instruct_embeddings.config import FitConfig
    from instruct_embeddings.encoder import EmbeddingRecord, EncoderOptions, InstructEncoder
    from instruct_embeddings.errors import (
        InstructEmbeddingsError,
        TransformWarning,
        TruncationWarning,
    )
    from instruct_embeddings.explain import Explanation
    from instruct_embeddings.guides import (
        Categories,
        EncoderGuide,
        GuideByInstruction,
        Judgement,
        JudgementGuide,
        LabelGuide,
        LabellingReport,
        LabelNamesGuide,
        LLMGuide,
        MetadataGuide,
    )
    from instruct_embeddings.instant import InstantQuery
    from instruct_embeddings.retrieval import (
        Drift,
        FitEvent,
        Hit,
        InstructRetriever,
        Questions,
        Reuse,
    )
    from instruct_embeddings.transform import (
        FitReport,
        InstructionTransform,
        QueryBridge,
        QuestionReport,
        TransformStore,
        fit_bridge,
    )

_EXPORTS = {
    "Categories": "guides",
    "Drift": "retrieval",
    "EmbeddingRecord": "encoder",
    "EncoderGuide": "guides",
    "EncoderOptions": "encoder",
    "Explanation": "explain",
    "FitConfig": "config",
    "FitEvent": "retrieval",
    "FitReport": "transform",
    "GuideByInstruction": "guides",
    "Hit": "retrieval",
    "InstantQuery": "instant",
    "InstructEmbeddingsError": "errors",
    "InstructEncoder": "encoder",
    "InstructRetriever": "retrieval",
    "InstructionTransform": "transform",
    "Judgement": "guides",
    "JudgementGuide": "guides",
    "LLMGuide": "guides",
    "LabelGuide": "guides",
    "LabelNamesGuide": "guides",
    "LabellingReport": "guides",
    "MetadataGuide": "guides",
    "QueryBridge": "transform",
    "QuestionReport": "transform",
    "Questions": "retrieval",
    "Reuse": "retrieval",
    "TransformStore": "transform",
    "TransformWarning": "errors",
    "TruncationWarning": "errors",
    "fit_bridge": "transform",
}

__all__ = [
    "Categories",
    "Drift",
    "EmbeddingRecord",
    "EncoderGuide",
    "EncoderOptions",
    "Explanation",
    "FitConfig",
    "FitEvent",
    "FitReport",
    "GuideByInstruction",
    "Hit",
    "InstantQuery",
    "InstructEmbeddingsError",
    "InstructEncoder",
    "InstructRetriever",
    "InstructionTransform",
    "Judgement",
    "JudgementGuide",
    "LLMGuide",
    "LabelGuide",
    "LabelNamesGuide",
    "LabellingReport",
    "MetadataGuide",
    "QueryBridge",
    "QuestionReport",
    "Questions",
    "Reuse",
    "TransformStore",
    "TransformWarning",
    "TruncationWarning",
    "__version__",
    "fit_bridge",
]

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
