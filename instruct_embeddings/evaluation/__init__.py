"""Measures of embeddings under instructions: on one's own texts, by suites, through mteb.

    from instruct_embeddings.evaluation import evaluate

scikit-learn and matplotlib come with the extra `eval`, mteb with the extra `mteb`; the modules
`mteb_models`, `mteb_tasks` and `mteb_run` are imported by name.
"""

from instruct_embeddings.evaluation.instruction_following import (
    Aspect,
    InstructionFollowingReport,
    InstructionFollowingScore,
    InstructionFollowingSizes,
    measure_instruction_following,
)
from instruct_embeddings.evaluation.labelled import (
    Evaluation,
    EvaluationConfig,
    Scored,
    evaluate,
    evaluate_collection,
)
from instruct_embeddings.transform.quality import (
    Difference,
    Estimate,
    bootstrap,
    mean_of,
    paired_bootstrap,
)

__all__ = [
    "Aspect",
    "Difference",
    "Estimate",
    "Evaluation",
    "EvaluationConfig",
    "InstructionFollowingReport",
    "InstructionFollowingScore",
    "InstructionFollowingSizes",
    "Scored",
    "bootstrap",
    "evaluate",
    "evaluate_collection",
    "mean_of",
    "measure_instruction_following",
    "paired_bootstrap",
]
