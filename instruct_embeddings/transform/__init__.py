"""Transforms of stored vectors: fitted from supervision, kept in a store, applied with numpy."""

from instruct_embeddings.transform.bridge import BridgeReport, QueryBridge, fit_bridge
from instruct_embeddings.transform.fit import fit_transform
from instruct_embeddings.transform.judgements import refine
from instruct_embeddings.transform.report import (
    BlendFigures,
    FitReport,
    JudgementReport,
    QuestionReport,
)
from instruct_embeddings.transform.store import TransformStore, TransformSummary
from instruct_embeddings.transform.transform import (
    InstructionTransform,
    QueryTransform,
    SpaceTransform,
    transform_key,
)

__all__ = [
    "BlendFigures",
    "BridgeReport",
    "FitReport",
    "InstructionTransform",
    "JudgementReport",
    "QueryBridge",
    "QueryTransform",
    "QuestionReport",
    "SpaceTransform",
    "TransformStore",
    "TransformSummary",
    "fit_bridge",
    "fit_transform",
    "refine",
    "transform_key",
]
