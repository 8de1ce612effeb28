"""Turn public data sets into training files: python scripts/prepare_training_data.py DATA OUT.

DATA/train holds the sets as JSON lines. Each file of OUT is a set that the table of instructions
names: labelled texts, or texts with an instruction and its answer. Nothing is random but by seed.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from instruct_embeddings.training.tables import read_toml
from scripts.training_data import derived, entities, genres, instant, pairs, sets
from scripts.training_data.source import Row, Source, texts_of

TABLE = Path(__file__).parents[1] / "instruct_embeddings/training/recipes/minilm-instructions.toml"
NATINST = ("natinst",)
# Name of a file of OUT -> how it is made, and the public sets it is made of.
MAKERS: dict[str, tuple[Callable[[Source], Iterator[Row]], tuple[str, ...]]] = {
    "argkp": (sets.argkp, ("argkp",)),
    "argkp_sides": (derived.argkp_sides, ("argkp",)),
    "banking77": (sets.banking77, ("banking77",)),
    "clinc150": (sets.clinc150, ("clinc150",)),
    "csabstruct": (sets.csabstruct, ("csabstruct",)),
    "csabstruct_study": (derived.csabstruct_study, ("csabstruct",)),
    "entity_kinds": (entities.entity_kinds, ("fewrel_val", *NATINST)),
    "fairytaleqa": (sets.questions("fairytaleqa"), ("fairytaleqa",)),
    "fewrel": (sets.fewrel, ("fewrel_val",)),
    "fewrel_pairs": (entities.fewrel_pairs, ("fewrel_val",)),
    "fewrel_things": (entities.fewrel_things, ("fewrel_val",)),
    "form": (derived.form, derived.FORMS),
    "genre": (genres.genre, genres.SETS),
    "goemotions": (sets.goemotions, ("goemotions",)),
    "mams": (sets.mams, ("mams_acsa",)),
    "natinst": (sets.natinst, NATINST),
    "natinst_questions": (sets.natinst_questions, NATINST),
    "nlupp": (sets.nlupp, ("nlupp",)),
    "policies": (derived.policies, ("policyqa",)),
    "pubmedqa": (derived.pubmedqa, ("pubmedqa",)),
    "question_type": (derived.question_type, ("xquad_en", "fairytaleqa", "policyqa", *NATINST)),
    "restaurants": (derived.restaurants, NATINST),
    "reviews": (derived.reviews, NATINST),
    "two_texts": (pairs.two_texts, tuple(name for name, _ in pairs.PARTS.values())),
    "xquad": (sets.questions("xquad_en"), ("xquad_en",)),
}


def main(arguments: list[str] | None = None) -> int:
    """Write the files; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with train/*.jsonl")
    parser.add_argument("out", type=Path, help="folder for the prepared files")
    parser.add_argument("--instructions", type=Path, default=TABLE, help="the table, a TOML file")
    parser.add_argument("--only", nargs="*", default=sorted(MAKERS), choices=sorted(MAKERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--without", type=Path, nargs="*", default=[], help="JSON lines whose texts must not occur"
    )
    parser.add_argument(
        "--without-folders", action="store_true", help="leave out what the instant query is taught"
    )
    args = parser.parse_args(arguments)
    table, without = read_toml(args.instructions), texts_of(args.without)
    source = Source(args.data / "train", table, seed=args.seed, without=without)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        maker, needed = MAKERS[name]
        if not source.has(*needed):
            print(f"{name}: left out, {source.folder} lacks one of {', '.join(needed)}")
            continue
        count = write(args.out / f"{name}.jsonl", checked(name, maker(source), source))
        print(f"{name}: {count} rows")
    if not args.without_folders:
        for path, folder in instant.folders(source):
            folder.write(args.out / path)
            print(f"{path}: {len(folder.documents)} documents, {len(folder.queries)} queries")
    return 0


def checked(name: str, rows: Iterator[Row], source: Source) -> Iterator[Row]:
    """The rows, each of whose aspects the table must have instructions for.

    Raises:
        KeyError: An aspect is not in the table.
    """
    for row in rows:
        for aspect in row.get("labels", {}):
            if aspect not in source.table.get(name, {}):
                raise KeyError(f"The table has no instructions for [{name}.{aspect}]. Add some.")
        yield row


def write(path: Path, rows: Iterator[Row]) -> int:
    """Write the rows as JSON lines; how many there were."""
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


if __name__ == "__main__":
    sys.exit(main())
