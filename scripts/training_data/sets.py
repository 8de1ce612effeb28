"""How each training set is made of the public sets."""

import re
from collections.abc import Callable, Iterator

from scripts.training_data.groups import ACTS, BANK_OBJECTS, BANK_PROBLEMS, group
from scripts.training_data.source import Row, Source, labels

LONGEST = 1200  # characters: with the instruction about as much as a small encoder reads
WINDOW = 350  # characters of a passage around the answer
DIRECTION = re.compile(r"\(e\d,e\d\)$")


def task(row: Row) -> str:
    """The number of a task of natural-instructions, "task582"; empty for other sets."""
    return str(row.get("task", "")).split("_")[0]


def plain(text: str) -> str:
    """A text without the marks of its task's format, cut after a sentence if too long."""
    text = re.sub(r"^(?:Abstract|Passage|CONTEXT|Category: .*\s*Clue): *", "", text.strip())
    text = re.sub(r"\bSentence ?\d: ?", "", text).split("<sep>")[0].strip()
    if len(text) <= LONGEST:
        return text
    head = text[:LONGEST]
    return head[: head.rfind(". ") + 1] or head


def known(found: dict[str, str]) -> dict[str, str]:
    """The labels that are not empty."""
    return {aspect: label for aspect, label in found.items() if label}


def clinc150(source: Source) -> Iterator[Row]:
    """Requests to an assistant, without those out of scope."""
    for row in source.rows("clinc150"):
        found = labels(row, "intent", "domain")
        if found["intent"] != "oos":
            found["act"] = group(ACTS, found["intent"])
            yield {"text": row["text"], "labels": known(found)}


def banking77(source: Source) -> Iterator[Row]:
    """Questions to a bank."""
    for row in source.rows("banking77"):
        found = labels(row, "intent")
        found["object"] = group(BANK_OBJECTS, found["intent"])
        found["problem"] = group(BANK_PROBLEMS, found["intent"])
        yield {"text": row["text"], "labels": known(found)}


def nlupp(source: Source) -> Iterator[Row]:
    """Calls to a bank or a hotel; the intent where there is exactly one."""
    for row in source.rows("nlupp"):
        found = labels(row, "domain")
        if len(row["intents"]) == 1:
            found["intent"] = row["intents"][0]
        yield {"text": row["text"], "labels": found}


def goemotions(source: Source) -> Iterator[Row]:
    """Comments with their emotions, where the annotators found one."""
    for row in source.rows("goemotions"):
        if found := labels(row, "emotion", "ekman", "sentiment"):
            yield {"text": row["text"], "labels": found}


def fewrel_text(row: Row) -> str:
    """The sentence with plain quotation marks."""
    return str(row["text"]).replace("``", '"').replace("''", '"')


def fewrel(source: Source) -> Iterator[Row]:
    """Sentences that state a relation; which of the two entities comes first does not matter."""
    for row in source.rows("fewrel_val"):
        found = labels(row, "relation", "source")
        found["relation"] = DIRECTION.sub("", found["relation"])
        yield {"text": fewrel_text(row), "labels": found}


def argkp(source: Source) -> Iterator[Row]:
    """Arguments; the position is the stance and the proposal together."""
    for row in source.rows("argkp"):
        found = labels(row, "topic", "stance", "key_point")
        side = "agrees" if found["stance"] == "pro" else "disagrees"
        found["position"] = f"{side} that {found['topic']}"
        yield {"text": row["text"], "labels": found}


def csabstruct(source: Source) -> Iterator[Row]:
    """Sentences of scientific abstracts."""
    for row in source.rows("csabstruct"):
        yield {"text": row["text"], "labels": labels(row, "role")}


def mams(source: Source) -> Iterator[Row]:
    """Restaurant reviews: the opinion on each category, on the whole, and what is discussed."""
    for row in source.rows("mams_acsa"):
        aspects = [a for a in row["aspects"] if a["category"] != "miscellaneous"]
        found = {a["category"]: a["polarity"] for a in aspects}
        for name, polarity in (("praised", "positive"), ("criticised", "negative")):
            named = [a["category"] for a in row["aspects"] if a["polarity"] == polarity]
            if len(named) == 1 and named[0] != "miscellaneous":
                found[name] = named[0]
        signs = {a["polarity"] for a in row["aspects"]} - {"neutral"}
        found["discussed"] = " and ".join(sorted(a["category"] for a in aspects)[:3])
        found["overall"] = "mixed" if len(signs) == 2 else min(signs, default="")
        yield {"text": row["text"], "labels": known(found)}


def natinst(source: Source) -> Iterator[Row]:
    """The tasks of natural-instructions that the table has words for; answers tidied up."""
    kept = source.rewritten()
    for row in source.rows("natinst"):
        answer = tidy(row["answer"])
        if row["instruction"] in kept and answer and answer != "None":
            text = point_first(row["text"])
            yield {"text": text, "instruction": row["instruction"], "answer": answer}


def point_first(text: str) -> str:
    """A text with what is asked about in front of its context, lest it be cut off."""
    text = re.sub(r"^(story:.*?)\s*(selected sentence:.*)$", r"\2 \1", text, flags=re.S)
    pattern = r"^(Context:.*?)\s*(Sentence:.*?)\s*(Character:.*)$"
    return re.sub(pattern, r"\3 \2 \1", text, flags=re.S)


def tidy(answer: str) -> str:
    """An answer without the marks of its task's format."""
    answer = re.split(r">\s*Causes(?:/Enables)?\s*>", answer)[-1].replace("(s)", "s")
    answer = answer.replace("I feels", "I feel")
    return " ".join(re.sub(r"\s+([,;.])\s*", r"\1 ", answer).replace("_", " ").split())


SPLITS = {
    "task1581": r"statement: (?P<text>.*?),? question: (?P<question>.*)",
    "task1327": r"Context : (?P<text>.*?)\s*Question : (?P<question>.*)",
    "task918": r"story: (?P<text>.*), question: (?P<question>.*)",
    "task332": r"(?P<text>.*)\n(?P<question>[^\n]*\?)",
}


def natinst_questions(source: Source) -> Iterator[Row]:
    """Tasks that hold passage and question in one text: the question becomes the instruction."""
    for row in source.rows("natinst"):
        pattern = SPLITS.get(task(row))
        match = re.fullmatch(pattern, row["text"].strip(), re.S) if pattern else None
        if match and (text := around(match["text"], row["answer"])):
            asked = match["question"].strip()
            yield {"text": text, "instruction": asked, "answer": row["answer"]}


def questions(name: str) -> Callable[[Source], Iterator[Row]]:
    """A maker for a set of passages with questions: the sentences around the answer."""

    def rows(source: Source) -> Iterator[Row]:
        for row in source.rows(name):
            if text := around(row["text"], row["answer"]):
                yield {"text": text, "instruction": row["instruction"], "answer": row["answer"]}

    return rows


def around(text: str, answer: str) -> str | None:
    """The sentence with the answer and the next to it, as long as they are short; else None."""
    sentences = re.split(r"(?<=[.!?])\s+", text.strip())
    wanted = answer.strip().lower().rstrip(".")
    holding = [index for index, each in enumerate(sentences) if wanted in each.lower()]
    if not wanted or not holding or len(sentences[holding[0]]) > WINDOW:
        return None
    first = last = holding[0]
    while len(" ".join(sentences[first : last + 1])) <= WINDOW:
        found = " ".join(sentences[first : last + 1])
        if first == 0 and last == len(sentences) - 1:
            break
        first, last = max(first - 1, 0), min(last + 1, len(sentences) - 1)
    return found
