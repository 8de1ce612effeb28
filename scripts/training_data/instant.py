"""Retrieval sets that the instant query is trained on, made of the public sets.

Each is a folder of `corpus.jsonl`, `queries.jsonl` (with the `aspect` whose wordings the table of
instructions holds) and `qrels.tsv`; a `plain` set has queries that want nothing but what any search
gives, of the `kind` question or claim.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scripts.training_data.sets import natinst
from scripts.training_data.source import Row, Source, read

LONGEST_TASK_TEXT = 380  # characters
ROWS_OF_A_TASK = 90
FEWEST_ANSWERS = 60
SHARE_OF_ANSWERS = 0.5
GROUPS = {"medquad_train": 280, "ecare_train": 3500}
SENTENCES = 7500
SHORTEST_SENTENCE = 40  # characters
ROLES = ("background", "objective", "method", "result")


@dataclass
class Folder:
    """A retrieval set in the making.

    Attributes:
        documents: Texts by id.
        queries: Rows with `id`, `text` and `aspect` or `kind`.
        relevant: Ids of the right documents by query.
    """

    documents: dict[str, str] = field(default_factory=dict)
    queries: list[Row] = field(default_factory=list)
    relevant: dict[str, list[str]] = field(default_factory=dict)

    def document(self, text: str) -> str:
        """The id of a text, which is added if it is new."""
        name = self.ids.get(text)
        if name is None:
            name = self.ids[text] = f"d{len(self.ids)}"
            self.documents[name] = text
        return name

    def ask(self, text: str, relevant: Iterable[str], **about: str) -> None:
        """Add a query with the documents that are right for it."""
        name = f"q{len(self.queries)}"
        self.queries.append({"id": name, "text": text, **about})
        self.relevant[name] = list(relevant)

    ids: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the three files."""
        path.mkdir(parents=True, exist_ok=True)
        corpus = ({"id": name, "text": text} for name, text in self.documents.items())
        for file, rows in (("corpus", corpus), ("queries", iter(self.queries))):
            with (path / f"{file}.jsonl").open("w", encoding="utf-8", newline="\n") as out:
                out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        with (path / "qrels.tsv").open("w", encoding="utf-8", newline="\n") as out:
            out.write("query-id\tdoc-id\tgrade\n")
            for query, ids in self.relevant.items():
                out.writelines(f"{query}\t{document}\t1\n" for document in ids)


def part_of(folder: Path, groups: int | None, generator: random.Random) -> Folder:
    """A retrieval set as it is, or some of its groups with the documents judged for them."""
    queries = list(read(folder / "queries.jsonl"))
    names = sorted({query.get("group", query["id"]) for query in queries})
    generator.shuffle(names)
    chosen = set(names[:groups])
    made = Folder()
    texts = {row["id"]: row["text"] for row in read(folder / "corpus.jsonl")}
    right: dict[str, list[str]] = defaultdict(list)
    judged: dict[str, list[str]] = defaultdict(list)
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        judged[query].append(document)
        if float(grade) > 0:
            right[query].append(document)
    asked = [query for query in queries if query.get("group", query["id"]) in chosen]
    for query in asked:
        for document in judged[query["id"]]:
            made.document(texts[document])
    if groups is None:
        for text in texts.values():
            made.document(text)
    for query in asked:
        if right[query["id"]]:
            ids = [made.document(texts[document]) for document in right[query["id"]]]
            made.ask(query["text"], ids, aspect=query.get("aspect") or "any")
    return made


def siblings(folder: Path, groups: int, generator: random.Random) -> Folder:
    """Passages on a disease: from one of them to another one on the same disease."""
    queries = list(read(folder / "queries.jsonl"))
    names = sorted({query["group"] for query in queries})
    generator.shuffle(names)
    chosen = set(names[:groups])
    texts = {row["id"]: row["text"] for row in read(folder / "corpus.jsonl")}
    rows = (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]
    first = {line.split("\t")[0]: line.split("\t")[1] for line in reversed(rows)}
    by_group: dict[str, dict[str, str]] = defaultdict(dict)
    for query in queries:
        if query["group"] in chosen and query["id"] in first:
            by_group[query["group"]][query["aspect"]] = texts[first[query["id"]]]
    made = Folder()
    for passages in by_group.values():
        for aspect, text in passages.items():
            for other, wanted in passages.items():
                if other != aspect and wanted != text:
                    made.document(text)
                    made.ask(text, [made.document(wanted)], aspect=other)
    return made


def abstracts(source: Source) -> Folder:
    """Sentences of abstracts: from one to those of the same abstract in a certain role."""
    made = Folder()
    papers: dict[str, list[Row]] = defaultdict(list)
    for number, row in enumerate(source.rows("csabstruct")):
        if number >= SENTENCES:
            break
        papers[row["labels"]["paper"]].append(row)
    for rows in papers.values():
        ids = [made.document(row["text"]) for row in rows]
        for row, own in zip(rows, ids, strict=True):
            if len(row["text"]) < SHORTEST_SENTENCE:
                continue
            others = [(o, r) for o, r in zip(ids, rows, strict=True) if o != own]
            for role in ROLES:
                right = [o for o, r in others if r["labels"]["role"] == role]
                if right and role != row["labels"]["role"]:
                    made.ask(row["text"], right, aspect=role)
            if others:
                made.ask(row["text"], [o for o, _ in others], aspect="same")
    return made


def answers(source: Source) -> Folder:
    """Tasks of natural-instructions with many different answers: from the text to its answer."""
    by_task: dict[str, list[Row]] = defaultdict(list)
    for row in natinst(source):
        by_task[row["instruction"]].append(row)
    made = Folder()
    for task in sorted(by_task):
        rows = by_task[task]
        different = len({row["answer"].lower() for row in rows})
        if different < SHARE_OF_ANSWERS * len(rows) or len(rows) < FEWEST_ANSWERS:
            continue
        source.random("answers", task).shuffle(rows)
        short = [row for row in rows if len(row["text"]) < LONGEST_TASK_TEXT]
        for row in short[:ROWS_OF_A_TASK]:
            made.ask(row["text"], [made.document(row["answer"])], aspect=task)
    return made


def questions(name: str, most: int) -> Callable[[Source], Folder]:
    """A set of passages with questions, as plain retrieval."""

    def make(source: Source) -> Folder:
        made = Folder()
        found: dict[str, set[str]] = defaultdict(set)
        for row in source.sample(name, most, purpose="plain"):
            found[row["instruction"]].add(made.document(row["text"]))
        for text, right in found.items():
            made.ask(text, sorted(right), kind="question")
        return made

    return make


def findings(source: Source) -> Folder:
    """A result of each abstract as a claim, and the rest of the abstract as what reports it."""
    made = Folder()
    papers: dict[str, list[Row]] = defaultdict(list)
    for row in source.rows("csabstruct"):
        papers[row["labels"]["paper"]].append(row)
    names = sorted(papers)
    generator = source.random("findings")
    generator.shuffle(names)
    for name in names[:500]:
        rows = papers[name]
        stated = [r for r in rows if r["labels"]["role"] in ("result", "objective")]
        stated = [r for r in stated if len(r["text"]) > SHORTEST_SENTENCE]
        if stated and len(rows) >= 3:
            claim = generator.choice(stated)
            rest = " ".join(row["text"] for row in rows if row is not claim)
            made.ask(claim["text"], [made.document(rest)], kind="claim")
    return made


PLAIN: dict[str, Callable[[Source], Folder]] = {
    "fairytaleqa": questions("fairytaleqa", 1500),
    "findings": findings,
    "policyqa": questions("policyqa", 1500),
    "pubmedqa": questions("pubmedqa", 450),
    "xquad": questions("xquad_en", 2000),
}


def folders(source: Source) -> Iterator[tuple[str, Folder]]:
    """All sets by the path that they are written to."""
    stored = source.folder / "retrieval"
    if not stored.is_dir():
        return
    for path in sorted(stored.iterdir()):
        name = path.name
        yield f"relations/{name}", part_of(path, GROUPS.get(name), source.random("part", name))
    medical = stored / "medquad_train"
    part = source.random("part", "medquad_train")
    yield "relations/siblings", siblings(medical, GROUPS["medquad_train"], part)
    yield "relations/abstracts", abstracts(source)
    yield "relations/answers", answers(source)
    for name, make in PLAIN.items():
        yield f"plain/{name}", make(source)
