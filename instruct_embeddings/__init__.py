"""Instruction-conditioned retrieval over the vectors you already have.

Importing this package loads no heavy dependency; each name below is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from instruct_embeddings._extras import lazy_exports
from instruct_embeddings._version import __version__

if TYPE_CHECKING:
    from instruct_embeddings.config import FitConfig, Instruction
    from instruct_embeddings.encoder import EmbeddingRecord, EncoderOptions, InstructEncoder
    from instruct_embeddings.errors import (
        InstructEmbeddingsError,
        TransformWarning,
        TruncationWarning,
    )
    from instruct_embeddings.explain import Explanation
    from instruct_embeddings.feedback import (
        ChatJudge,
        CrossEncoderJudge,
        EncoderJudge,
        FunctionJudge,
        JudgementMemory,
    )
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
        carry_over,
    )
    from instruct_embeddings.transform import (
        FitReport,
        InstructionTransform,
        QueryBridge,
        QuestionReport,
        TransformStore,
        fit_bridge,
    )

_MODULES = {
    "config": "FitConfig Instruction",
    "encoder": "EmbeddingRecord EncoderOptions InstructEncoder",
    "errors": "InstructEmbeddingsError TransformWarning TruncationWarning",
    "explain": "Explanation",
    "feedback": "ChatJudge CrossEncoderJudge EncoderJudge FunctionJudge JudgementMemory",
    "guides": "Categories EncoderGuide GuideByInstruction Judgement JudgementGuide LLMGuide "
    "LabelGuide LabelNamesGuide LabellingReport MetadataGuide",
    "instant": "InstantQuery",
    "retrieval": "Drift FitEvent Hit InstructRetriever Questions RelevanceFeedback Reuse "
    "carry_over",
    "transform": "FitReport InstructionTransform QueryBridge QuestionReport TransformStore "
    "fit_bridge",
}
_EXPORTS = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "Categories",
    "ChatJudge",
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
    "Instruction",
    "InstructionTransform",
    "Judgement",
    "JudgementGuide",
    "JudgementMemory",
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
    "carry_over",
    "fit_bridge",
]

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
