"""Public labelled texts as (data set, aspect) tasks; the data folder is an argument."""

import json
import warnings
from collections import Counter
from collections.abc import Iterator
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
    """One data set under one aspect, asked by an instruction."""

    file: str
    aspect: str
    instruction: str

    @property
    def name(self) -> str:
        """`file/aspect`."""
        return f"{self.file}/{self.aspect}"


TASKS = (
    Task("semeval14_rest", "category", "Which aspect of the restaurant is reviewed?"),
    Task("semeval14_rest", "polarity", "Is the opinion positive or negative?"),
    Task("trec", "coarse", "What kind of answer does the question ask for?"),
    Task("trec", "fine", "What exact type of thing is asked for?"),
    Task("massive_en", "intent", "What does the user want the assistant to do?"),
    Task("massive_en", "scenario", "Which area of daily life is it about?"),
    Task("mtop_en", "intent", "What does the user want the assistant to do?"),
    Task("hwu64", "action", "Which action is requested?"),
    Task("arxiv_fine", "archive", "Which field of science is it from?"),
    Task("arxiv_fine", "category", "Which subfield does the paper belong to?"),
    Task("agnews_test", "topic", "What is the topic of the news?"),
    Task("goalex_dbpedia", "ontology", "What kind of thing is described?"),
    Task("snips", "intent", "What does the user want to do?"),
    Task("debian_packages", "interface", "What kind of user interface does it have?"),
    Task("debian_packages", "role", "What role does the package play?"),
    Task("debian_packages", "works-with", "What kind of data does it work with?"),
    Task("debian_packages", "uitoolkit", "Which user interface toolkit does it use?"),
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
    rows = list(_rows(_file(data, task.file), task.aspect))
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
    parts = [encoder.name, str(encoder.max_tokens), instruction or ""]
    file = CACHE / f"{sha256(repr(parts).encode()).hexdigest()[:24]}.npz"
    known: dict[str, FloatArray] = {}
    if file.is_file():
        with np.load(file) as kept:
            known = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))
    digests = [sha256(text.encode()).hexdigest()[:24] for text in texts]
    pairs = zip(digests, texts, strict=True)
    missing = {digest: text for digest, text in pairs if digest not in known}
    if missing:
        front = f"{instruction} " if instruction else ""
        with warnings.catch_warnings():
            # Every method reads the same texts, cut at the same place.
            warnings.simplefilter("ignore", TruncationWarning)
            vectors = encoder.encode([front + text for text in missing.values()])
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
            for text, label in _rows(_file(data, task.file), other.aspect):
                if text in own:
                    own[text][f"{task.file}.{other.aspect}"] = label
        texts.extend(own)
        labels.extend(own.values())
    return texts, labels


def _file(data: Path, name: str) -> Path:
    file = data / "dev" / f"{name}.jsonl"
    if not file.is_file():
        raise SystemExit(f"{file} is missing: pass the folder that holds dev/ with --data.")
    return file


def _rows(file: Path, aspect: str) -> Iterator[tuple[str, str]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if "tags" in row:
                values = row["tags"].get(aspect, [])
                if len(values) == 1:
                    yield row["text"], values[0]
                continue
            label = row["labels"].get(aspect)
            if label and "|" not in label and aspect not in row.get("multi", ()):
                yield row["text"], label
