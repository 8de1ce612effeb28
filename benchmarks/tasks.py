"""Public labelled texts as (data set, aspect) tasks; the data folder is an argument."""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from instruct_embeddings import InstructEncoder, TruncationWarning
from instruct_embeddings._types import FloatArray

CACHE = Path(".bench")
_MIN_ROWS_PER_LABEL = 10
_MAX_LABELLED = 1000
_MAX_POOL = 1500


@dataclass(frozen=True)
class Task:
    """One data set under one aspect.

    Attributes:
        file: Name of the data set.
        aspect: Whose labels are asked for.
        instruction: Asks for them.
        paraphrase: The same question in other words.
        other: A question about another aspect of the same texts.
    """

    file: str
    aspect: str
    instruction: str
    paraphrase: str
    other: str

    @property
    def name(self) -> str:
        """`file/aspect`."""
        return f"{self.file}/{self.aspect}"


_DETAILS = "Which names, places or times are mentioned?"
TASKS = (
    Task(
        "semeval14_rest",
        "category",
        "Which aspect of the restaurant is reviewed?",
        "What part of the dining experience does the guest comment on?",
        "Is the opinion positive or negative?",
    ),
    Task(
        "semeval14_rest",
        "polarity",
        "Is the opinion positive or negative?",
        "How does the guest feel about it?",
        "Which aspect of the restaurant is reviewed?",
    ),
    Task(
        "trec",
        "coarse",
        "What kind of answer does the question ask for?",
        "What type of thing would be a reply to this?",
        "Which subject area is the question about?",
    ),
    Task(
        "trec",
        "fine",
        "What exact type of thing is asked for?",
        "Name the precise category of the expected answer.",
        "Which subject area is the question about?",
    ),
    Task(
        "massive_en",
        "intent",
        "What does the user want the assistant to do?",
        "Name the intent behind the command.",
        _DETAILS,
    ),
    Task(
        "massive_en",
        "scenario",
        "Which area of daily life is it about?",
        "What is the general domain of the request?",
        _DETAILS,
    ),
    Task(
        "mtop_en",
        "intent",
        "What does the user want the assistant to do?",
        "Name the intent behind the command.",
        _DETAILS,
    ),
    Task(
        "hwu64",
        "action",
        "Which action is requested?",
        "What operation should be carried out?",
        "Which area of daily life is it about?",
    ),
    Task(
        "arxiv_fine",
        "archive",
        "Which field of science is it from?",
        "Name the scientific discipline.",
        "Is it a theory, an experiment or a survey?",
    ),
    Task(
        "arxiv_fine",
        "category",
        "Which subfield does the paper belong to?",
        "What is the research specialty of this work?",
        "Is it a theory, an experiment or a survey?",
    ),
    Task(
        "agnews_test",
        "topic",
        "What is the topic of the news?",
        "In which section of a newspaper would it appear?",
        "Which country does it take place in?",
    ),
    Task(
        "goalex_dbpedia",
        "ontology",
        "What kind of thing is described?",
        "Which category of entity is this?",
        "Which country does it belong to?",
    ),
    Task(
        "snips",
        "intent",
        "What does the user want to do?",
        "Name the purpose of the request.",
        _DETAILS,
    ),
    Task(
        "debian_packages",
        "interface",
        "What kind of user interface does it have?",
        "How does one interact with the program?",
        "What kind of data does it work with?",
    ),
    Task(
        "debian_packages",
        "role",
        "What role does the package play?",
        "Is it a program, a library, data or documentation?",
        "What kind of data does it work with?",
    ),
    Task(
        "debian_packages",
        "works-with",
        "What kind of data does it work with?",
        "Which type of content does it handle?",
        "What role does the package play?",
    ),
    Task(
        "debian_packages",
        "uitoolkit",
        "Which user interface toolkit does it use?",
        "Name the graphical library it is built with.",
        "What kind of data does it work with?",
    ),
)


@dataclass(frozen=True)
class Split:
    """Labelled texts to learn from, and a pool apart from them to rank."""

    texts: list[str]
    labels: list[str]
    pool_texts: list[str]
    pool_labels: np.ndarray[Any, np.dtype[np.str_]]


def load(task: Task, data: Path, seed: int) -> Split:
    """Rows that carry exactly one label of the aspect, split at random."""
    rows = list(_rows(data, task.file, task.aspect))
    counts = Counter(label for _, label in rows)
    rows = [row for row in rows if counts[row[1]] >= _MIN_ROWS_PER_LABEL]
    order = np.random.default_rng(seed).permutation(len(rows))
    cut = min(_MAX_LABELLED, len(rows) * 2 // 5)
    learn = [rows[i] for i in order[:cut]]
    pool = [rows[i] for i in order[cut : cut + _MAX_POOL]]
    return Split(
        [text for text, _ in learn],
        [label for _, label in learn],
        [text for text, _ in pool],
        np.array([label for _, label in pool]),
    )


def embed(encoder: InstructEncoder, texts: list[str], instruction: str | None = None) -> FloatArray:
    """Embed texts, an instruction in front of each; vectors are kept, so each is encoded once."""
    front = f"{instruction} " if instruction else ""
    key = [encoder.name, str(encoder.max_tokens), instruction or ""]
    return _kept(key, texts, lambda missing: encoder.encode([front + text for text in missing]))


def embed_under(
    encoder: InstructEncoder, texts: list[str], instruction: str | None = None
) -> FloatArray:
    """Embed texts under an instruction; vectors are kept by the fingerprint of the model."""
    key = ["under", encoder.fingerprint(instruction=instruction)]
    return _kept(key, texts, lambda missing: encoder.encode(missing, instruction=instruction))


def _kept(
    key: list[str], texts: list[str], encode: Callable[[list[str]], FloatArray]
) -> FloatArray:
    file = CACHE / f"{sha256(repr(key).encode()).hexdigest()[:24]}.npz"
    known: dict[str, FloatArray] = {}
    if file.is_file():
        with np.load(file) as kept:
            known = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))
    digests = [sha256(text.encode()).hexdigest()[:24] for text in texts]
    pairs = zip(digests, texts, strict=True)
    missing = {digest: text for digest, text in pairs if digest not in known}
    if missing:
        with warnings.catch_warnings():
            # Every method reads the same texts, cut at the same place.
            warnings.simplefilter("ignore", TruncationWarning)
            vectors = encode(list(missing.values()))
        known.update(zip(missing, vectors, strict=True))
        CACHE.mkdir(exist_ok=True)
        # Under another name first: an interrupted run leaves the old file or the new one.
        fresh = file.with_suffix(".writing.npz")
        np.savez(fresh, texts=np.array(list(known)), vectors=np.stack(list(known.values())))
        fresh.replace(file)
    return np.stack([known[digest] for digest in digests])


def load_texts(data: Path, seed: int) -> tuple[list[str], list[dict[str, str]]]:
    """Texts of two domains, with all their labels as `file.aspect`, for large collections."""
    texts: list[str] = []
    labels: list[dict[str, str]] = []
    for name in ("debian_packages/role", "massive_en/intent"):
        task = next(task for task in TASKS if task.name == name)
        split = load(task, data, seed)
        own: dict[str, dict[str, str]] = {text: {} for text in split.texts + split.pool_texts}
        for other in (other for other in TASKS if other.file == task.file):
            for text, label in _rows(data, task.file, other.aspect):
                if text in own:
                    own[text][f"{task.file}.{other.aspect}"] = label
        texts.extend(own)
        labels.extend(own.values())
    return texts, labels


def labelled(data: Path, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Texts of a data set with their aspects; those with several labels are left out of a row."""
    with _file(data, name).open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if "tags" in row:
                yield row["text"], {k: v[0] for k, v in row["tags"].items() if len(v) == 1}
                continue
            several = row.get("multi", ())
            clean = {
                aspect: label
                for aspect, label in row["labels"].items()
                if label and "|" not in label and aspect not in several
            }
            yield row["text"], clean


def _file(data: Path, name: str) -> Path:
    file = data / "dev" / f"{name}.jsonl"
    if not file.is_file():
        raise SystemExit(f"{file} is missing: pass the folder that holds dev/ with --data.")
    return file


def _rows(data: Path, name: str, aspect: str) -> Iterator[tuple[str, str]]:
    for text, labels in labelled(data, name):
        if aspect in labels:
            yield text, labels[aspect]
