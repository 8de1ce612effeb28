"""What a model is told that calls a retriever as a tool and writes the instruction itself."""

from collections.abc import Iterable, Mapping
from typing import Any

from instruct_embeddings.config import Instruction
from instruct_embeddings.errors import ConfigError, TextError

TOOL_NAME = "search"
TOOL_DESCRIPTION = (
    "Search a collection of texts. `query` says what they should be about, `instruction` what "
    "makes a text the right one. Search again under another instruction where results are like "
    "the query in a respect that was not meant."
)
QUERY_DESCRIPTION = (
    "What is searched for, without the instruction: a question, or a text like those that are "
    "wanted."
)
INSTRUCTION_DESCRIPTION = (
    "One plain sentence that you write for this search: what makes a text the right one for the "
    "query. A relation to the query ('Find what caused it.'), an aspect in which texts should be "
    "like it ('What problem is reported?'), or a constraint ('Only answers about billing, no "
    "refunds.'). Leave it out for a plain search by topic."
)
EXAMPLES_DESCRIPTION = (
    "A few examples of what the instruction means, where you know some: each a list of a query, a "
    "text that answers it and, if you like, a text that does not."
)
NOTHING_FOUND = "Nothing was found."
# What the model that calls can correct; all other errors are for those who built the tool.
CORRECTABLE = (ConfigError, TextError)


def with_examples(said: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a search in which `examples` are part of the instruction.

    Raises:
        InstructionError: There is no instruction, or they are no examples.
    """
    found = dict(said)
    if (examples := found.pop("examples", None)) is not None:
        found["instruction"] = Instruction(found.get("instruction") or "", examples)
    return found


def wrong_arguments(errors: Iterable[Mapping[str, Any]]) -> str:
    """What a model is told of arguments that do not fit the schema: the errors of pydantic."""
    said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors)
    return f"The search was not made. {said}. Correct the arguments and search again."
