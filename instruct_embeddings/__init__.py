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
    from instruct_embeddings.feedback import CrossEncoderJudge, EncoderJudge, FunctionJudge
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
        RelevanceFeedback,
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
    "CrossEncoderJudge": "feedback",
    "Drift": "retrieval",
    "EmbeddingRecord": "encoder",
    "EncoderGuide": "guides",
    "EncoderJudge": "feedback",
    "EncoderOptions": "encoder",
    "Explanation": "explain",
    "FitConfig": "config",
    "FitEvent": "retrieval",
    "FitReport": "transform",
    "FunctionJudge": "feedback",
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
    "RelevanceFeedback": "retrieval",
    "Reuse": "retrieval",
    "TransformStore": "transform",
    "TransformWarning": "errors",
    "TruncationWarning": "errors",
    "fit_bridge": "transform",
}

__all__ = [
    "Categories",
    "CrossEncoderJudge",
    "Drift",
    "EmbeddingRecord",
    "EncoderGuide",
    "EncoderJudge",
    "EncoderOptions",
    "Explanation",
    "FitConfig",
    "FitEvent",
    "FitReport",
    "FunctionJudge",
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
    "RelevanceFeedback",
    "Reuse",
    "TransformStore",
    "TransformWarning",
    "TruncationWarning",
    "__version__",
    "fit_bridge",
]

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
