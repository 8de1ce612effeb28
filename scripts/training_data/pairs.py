"""Two short texts in one: only the instruction says which of them is meant."""

from collections.abc import Callable, Iterator

from scripts.training_data.sets import DIRECTION, fewrel_text
from scripts.training_data.source import Row, Source, labels

# Aspect of a pair -> set and aspect of the part.
PARTS = {
    "request": ("clinc150", "intent"),
    "bank_request": ("banking77", "intent"),
    "emotion": ("goemotions", "emotion"),
    "debate_topic": ("argkp", "topic"),
    "research_role": ("csabstruct", "role"),
    "relation": ("fewrel_val", "relation"),
}
SAME = {"request", "bank_request"}  # both are what the customer wants
NOTHING = ("oos", "neutral", "other")
JOINTS = (
    *("{} {}", "{}\n{}", "{}\n\n{}", "{} - {}", "{} ... {}", "{} | {}"),
    *("1. {}\n2. {}", '"{}" "{}"'),
)
LONGEST = 250
POOL = 3000
COUNT = 12000


def two_texts(source: Source) -> Iterator[Row]:
    """Two short texts of different sets in one, with a label of each."""
    generator = source.random("two_texts")
    pools = {}
    for part, (name, aspect) in PARTS.items():
        rows = source.sample(name, POOL, tells(aspect), purpose="two_texts")
        pools[part] = [(fewrel_text(r), DIRECTION.sub("", r["labels"][aspect])) for r in rows]
    written = 0
    while written < COUNT:
        first, second = generator.sample(sorted(PARTS), 2)
        if {first, second} == SAME or not (pools[first] and pools[second]):
            continue
        (one, label), (two, other) = (generator.choice(pools[p]) for p in (first, second))
        text = generator.choice(JOINTS).format(one, two)
        yield {"text": text, "labels": {first: label, second: other}}
        written += 1


def tells(aspect: str) -> Callable[[Row], bool]:
    """Whether a row is short and its label says something."""

    def keep(row: Row) -> bool:
        label = labels(row, aspect).get(aspect, NOTHING[0])
        return label not in NOTHING and len(row["text"]) <= LONGEST

    return keep
