"""The part of docs/performance.md about questions under instructions."""

from benchmarks import spaces
from benchmarks.environment import load
from benchmarks.instant import KINDS
from benchmarks.pages import Ran, Tabulate
from benchmarks.retrieval_report import sections


def section(tabulate: Tabulate, ran: Ran) -> list[str]:
    """Paragraphs and tables; nothing where it was not measured."""
    results = load("retrieval")
    if not results:
        return []
    names, sizes = results["models"], results["sizes"]
    parts = [
        "## Questions under instructions",
        "`make bench-retrieval DATA=folder`",
        f"{ran(results['environment'])} Models: {', '.join(names.values())}. All contestants rank "
        "the same generic vectors of the documents. Right order: of a document that answers the "
        "query under this instruction and one that answers it under another, how often the first "
        "stands first, mean over groups; one half for whoever ignores the instruction. Transforms "
        f"are fitted on {sizes['sample']} texts under the {sizes['fitted']} commonest instructions "
        "of each set, score every row, and are used whether they help on their own sample or not; "
        "their gains are over the generic vectors on the same queries. Intervals are 95 % of a "
        "paired bootstrap over groups.",
        "In constraints the query says the topic and the instruction what is wanted or unwanted; "
        "cases are chosen by how many rows satisfy them, never by results. In label tasks texts "
        "are queries; right are the texts with the same label, under the question that the labels "
        "answer.",
    ]
    for one in sections(results):
        parts += [f"**{one.title}**", tabulate(one.headings, one.lines)]
    return parts + _spaces(tabulate, ran) + _first_answers(tabulate, ran)


def _spaces(tabulate: Tabulate, ran: Ran) -> list[str]:
    results = load("spaces")
    if not results:
        return []
    [table] = spaces.sections(results)
    return [
        "### Collections of other embedding models",
        "`make bench-spaces DATA=folder`",
        f"{ran(results['environment'])} The instant query moves vectors of all-MiniLM-L6-v2. To "
        "another space it has a map, fitted once to 400 of the stored texts; what the map keeps is "
        "the share of the neighbours of a text that its mapped vector finds.",
        tabulate(table.headings, table.lines),
    ]


def _first_answers(tabulate: Tabulate, ran: Ran) -> list[str]:
    results = load("instant")
    if not results:
        return []
    plain = results["plain_ms"]
    lines = [
        [kind, str(results[kind]["median_ms"]), str(results[kind]["p95_ms"])] for kind in KINDS
    ]
    return [
        "### The first answer under a new instruction",
        "`make bench-instant`",
        f"{ran(results['environment'])} {results['rows']} sample tickets in an embedded Chroma "
        "collection; each instruction is asked for the first time. Beside the query's own vector, "
        f"which the embedder makes anyway; a plain query takes {plain} ms.",
        tabulate(("instruction", "median ms", "95 % within ms"), lines),
    ]
