"""A judge as a child run of the retriever's run."""

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks.manager import CallbackManagerForRetrieverRun
from langchain_core.runnables import RunnableLambda

from instruct_embeddings.hosts import AskJudge, JudgeQuestion, JudgeWatcher


def judge_run(run_manager: CallbackManagerForRetrieverRun) -> JudgeWatcher:
    """Asks a judge in a run named "judge".

    Its inputs are query, instruction and the number of texts, its output the scores or the error.
    Whatever of LangChain the judge calls appears under it.
    """

    def watch(question: JudgeQuestion, ask: AskJudge) -> Sequence[float | None]:
        inputs = {
            "query": question.query,
            "instruction": question.instruction,
            "texts": len(question.texts),
        }

        def answer(_: dict[str, Any]) -> Sequence[float | None]:
            return ask()

        return RunnableLambda(answer, name="judge").invoke(
            inputs, {"callbacks": run_manager.get_child()}
        )

    return watch
