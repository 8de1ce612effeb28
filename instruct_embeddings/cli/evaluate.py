"""`evaluate`: generic beside adapted rankings on judged questions."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instruct_embeddings.cli.judged import JudgedQuestions, read_questions
from instruct_embeddings.cli.options import (
    CollectionOption,
    DebugOption,
    ExactOption,
    JsonOption,
    ModelOption,
    StoreOption,
    WhereOption,
)
from instruct_embeddings.cli.output import finish, reported
from instruct_embeddings.cli.placed import placed
from instruct_embeddings.cli.places import Place
from instruct_embeddings.cli.searching import open_retriever, read_filter
from instruct_embeddings.errors import DataError

if TYPE_CHECKING:
    from instruct_embeddings.transform.report import QuestionReport


@reported
@placed
def evaluate(
    questions: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help='JSONL of {"query": ..., "relevant": [ids]}, each perhaps with an "instruction"; '
            "CSV with these columns and one id a line; or a folder with queries.jsonl and "
            "qrels.tsv.",
        ),
    ],
    collection: CollectionOption,
    place: Place,
    instruction: Annotated[
        str | None,
        typer.Option(
            "--instruction", "-i", help="One fitted by `adapt`, of questions that bring none."
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Results looked at.", min=1)] = 10,
    blends: Annotated[
        list[float] | None,
        typer.Option(
            "--blend",
            help="Share of the adapted score to try; repeatable. By default 0.25, 0.5, 0.75 and 1.",
            show_default=False,
        ),
    ] = None,
    where: WhereOption = None,
    exact: ExactOption = False,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.", min=0)] = 0,
    store: StoreOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure generic beside adapted rankings on questions whose right answers are known.

    nDCG and recall at several blends, whether the difference is more than chance, and the blend to
    use: `query --blend`.
    """
    options: dict[str, Any] = {"k": k, "where": read_filter(where), "exact": exact, "seed": seed}
    if blends:
        options["blends"] = blends
    asked = read_questions(questions)
    report = run_evaluate(place, collection, asked, instruction, place.store(store), model, options)
    document = {**report.to_dict(), "verdict": report.verdict(), "collection": collection}
    finish(document, str(report), as_json=as_json)


def run_evaluate(
    place: Place,
    name: str,
    asked: JudgedQuestions,
    instruction: str | None,
    store: Path,
    model: str | None,
    options: Mapping[str, Any],
) -> "QuestionReport":
    """Ask the questions under instructions whose transforms are stored.

    Raises:
        DataError: A question has no instruction.
        EmptyCollectionError: Nothing is stored.
        CollectionMismatchError: Another model filled the collection.
        GuideError: No transform is stored for an instruction.
        ConfigError: No relevant id is in the collection.
    """
    texts = {key: text for key, text in asked.texts.items() if key in asked.grades}
    under = [asked.instructions.get(key, instruction) for key in texts]
    told = [text for text in under if text is not None]
    if len(told) < len(under):
        raise DataError(
            f"{len(under) - len(told)} of {len(under)} questions have no instruction. Each needs "
            'one: a key "instruction" in its line, or --instruction for all that have none. Add '
            '--instruction "..." with one that `adapt` has fitted.'
        )
    retriever, encoder = open_retriever(place, name, store, model, *dict.fromkeys(told))
    return retriever.evaluate(
        texts, asked.grades, instruction=told, embed=encoder.encode, **options
    )
