"""The part of docs/evidence.md about InstEmb and GIRCSE on a causal language model."""

from collections.abc import Mapping
from typing import Any

from benchmarks.environment import load
from benchmarks.pages import Ran, Tabulate

REFINED = 4  # steps of refinement that GIRCSE is trained with
FIGURES = ("precision@10", "v_measure", "obedience", "ndcg@10")
HEADINGS = (
    *("variant", "K", "precision@10", "V-measure", "obedience", "nDCG@10"),
    *("ms a text", "trained in"),
)
# What is claimed, and the two rows whose difference says so.
CLAIMS = (
    ("InstEmb, trained, beats the untrained model", "InstEmb", "untrained, DAAP"),
    ("and a generic encoder", "InstEmb", "all-MiniLM-L6-v2"),
    ("InstEmb: two anchors beat the last token", "InstEmb", "last token only"),
    ("InstEmb: two anchors beat the mean", "InstEmb", "mean over all tokens"),
    ("InstEmb: distillation helps", "InstEmb", "soft prompts, no distillation"),
    ("InstEmb: soft prompts help", "InstEmb", "distillation, no soft prompts"),
    ("GIRCSE beats InstEmb", "GIRCSE", "InstEmb"),
    ("GIRCSE: ICR beats InfoNCE over the steps", "GIRCSE", "GIRCSE, plain InfoNCE"),
    ("sharper soft tokens beat those of temperature 1", "GIRCSE", "GIRCSE, temperature 1"),
    ("attention both ways beats causal attention", "InstEmb, attention both ways", "InstEmb"),
)


def lines(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Cells of the table, a line for each row; what was not run says so."""
    found: list[tuple[str, ...]] = []
    for name in results.get("variants", ()):
        rows = [row for row in results["rows"] if row["variant"] == name]
        if not rows:
            found.append((name, "", "not run", *("" for _ in HEADINGS[3:])))
        for row in rows:
            spent = row.get("training seconds", 0)
            found.append(
                (
                    name,
                    str(row.get("K", "")),
                    *(f"{row[key]:.3f}" for key in FIGURES),
                    f"{row['milliseconds']:.0f}",
                    f"{spent / 60:.0f} min" if spent else "",
                )
            )
    return found


def section(tabulate: Tabulate, ran: Ran) -> list[str]:
    """The part of docs/evidence.md; nothing where nothing was run."""
    results = load("causal")
    if not results.get("rows"):
        return []
    sizes, sets = results["sizes"], results["sets"]
    missing = sum(line[2] == "not run" for line in lines(results))
    parts = [
        "## InstEmb and GIRCSE on a causal language model",
        "`make bench-causal DATA=folder` (hours; goes on where it stopped; not part of `make "
        "evidence`)",
        f"{ran(results['environment'])} Model: Gemma 3 270M, the base model, from a GGUF file of 4 "
        f"bits. Every variant: {sizes['steps']} steps of {sizes['batch']} texts of at most "
        f"{sizes['tokens']} tokens, one seed. Quality: {', '.join(sets['labels'])}, two aspects "
        f"each, pools of {sizes['pool']} texts; obedience is by how much precision@10 on an aspect "
        "is higher where it is asked for than where the other one is; nDCG@10 of questions under "
        f"instructions to generic vectors of documents ({', '.join(sets['retrieval'])}, cut). "
        f"GIRCSE is trained with K = {REFINED}. Trainings this short show what is learned first, "
        f"not what is learned at last. Not run yet: {missing} of {len(results['variants'])} rows. "
        "Rows of former runs stay, also of another machine or beside other work: compare quality, "
        "not times.",
        tabulate(HEADINGS, lines(results)),
        "What the papers claim, and the differences here; GIRCSE at the K that it was trained "
        "with. The papers train models of billions of parameters.",
        tabulate(("claim", *FIGURES), claims(results)),
    ]
    if spent := spent_on_steps(results):
        parts.append(
            f"Steps of refinement go on from one cache of keys and values: {'; '.join(spent)}. "
            "An encoder that attends both ways has none and reads the row anew at every step."
        )
    return [*parts, *_states(tabulate, ran)]


def _states(tabulate: Tabulate, ran: Ran) -> list[str]:
    """What generated states look like."""
    results = load("causal-states")
    if not results:
        return []
    keys = ("temperature", "step", "bits", "length", "between texts", "to the step before")
    # The length of step 0 is that of no soft token.
    shown = [row for row in results["untrained"] if row["step"] in (1, 2, results["steps"])]
    return [
        "**Do generated states collapse?** `python -m benchmarks.causal_states --data folder`. "
        f"{ran(results['environment'])} The untrained model, {results['texts']} texts: bits of the "
        "distribution over the next token; length of the soft token in those of token embeddings; "
        "cosine of the states of different texts, and of a state and the one before. Where the "
        "last is near 1, a further step repeats the one before and can add nothing. Soft tokens "
        "are scaled as Gemma scales its input embeddings. The recipe has a temperature of 0.5.",
        tabulate(keys, [[str(row[key]) for key in keys] for row in shown]),
    ]


def claims(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The differences by claim."""
    rows = {(row["variant"], row["K"]): row for row in results["rows"]}

    def line(claim: str, one: Any, other: Any) -> tuple[str, ...]:
        if one is None or other is None:
            return (claim, "not run", *("" for _ in FIGURES[1:]))
        return (claim, *(f"{one[key] - other[key]:+.3f}" for key in FIGURES))

    def row(name: str) -> Any:
        return rows.get((name, REFINED if name.startswith("GIRCSE") else 0))

    found = [line(claim, row(one), row(other)) for claim, one, other in CLAIMS]
    for low, high in ((0, REFINED), (REFINED, 2 * REFINED), (REFINED, 4 * REFINED)):
        claim = f"GIRCSE: K = {high} beats K = {low}"
        found.append(line(claim, rows.get(("GIRCSE", high)), rows.get(("GIRCSE", low))))
    return found


def spent_on_steps(results: Mapping[str, Any]) -> list[str]:
    """What refinement costs on long texts, in those of none."""
    spent = dict(results.get("cost", {}))
    if not spent:
        return []
    tokens, texts = spent.pop("tokens"), spent.pop("texts")
    kinds = dict.fromkeys(name.partition(", K")[0] for name in spent)
    return [
        f"{texts} texts of {tokens} tokens under {kind} take {spent[f'{kind}, K = 0']} s of "
        "processor time without "
        f"refinement and {spent[f'{kind}, K = {REFINED}'] / spent[f'{kind}, K = 0']:.2f} times as "
        f"long with K = {REFINED}"
        for kind in kinds
    ]
