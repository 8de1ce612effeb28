"""What the retrievers of LangChain and LlamaIndex have in common, and one for another host needs.

An adapter inherits `HostRetriever` beside the base class of its host, translates the arguments of
the host into `SearchOptions`, and hits into the documents of the host.
"""

from instruct_embeddings._types import UNSET, Unset
from instruct_embeddings._warnings import warn
from instruct_embeddings.config import Instructions, check_arguments, suggesting
from instruct_embeddings.hosts.engine import (
    check_shared,
    engine_settings,
    open_engine,
    same_engine,
)
from instruct_embeddings.hosts.rerankers import model_name, uncut
from instruct_embeddings.hosts.retriever import (
    HostRetriever,
    SearchOptions,
    check_default,
    check_query,
)
from instruct_embeddings.hosts.tool import (
    CORRECTABLE,
    EXAMPLES_DESCRIPTION,
    INSTRUCTION_DESCRIPTION,
    NOTHING_FOUND,
    QUERY_DESCRIPTION,
    TOOL_DESCRIPTION,
    TOOL_NAME,
    with_examples,
    wrong_arguments,
)
from instruct_embeddings.retrieval import AskJudge, JudgeQuestion, JudgeWatcher
from instruct_embeddings.retrieval.fitting import OnFit

__all__ = [
    "CORRECTABLE",
    "EXAMPLES_DESCRIPTION",
    "INSTRUCTION_DESCRIPTION",
    "NOTHING_FOUND",
    "QUERY_DESCRIPTION",
    "TOOL_DESCRIPTION",
    "TOOL_NAME",
    "UNSET",
    "AskJudge",
    "HostRetriever",
    "Instructions",
    "JudgeQuestion",
    "JudgeWatcher",
    "OnFit",
    "SearchOptions",
    "Unset",
    "check_arguments",
    "check_default",
    "check_query",
    "check_shared",
    "engine_settings",
    "model_name",
    "open_engine",
    "same_engine",
    "suggesting",
    "uncut",
    "warn",
    "with_examples",
    "wrong_arguments",
]
