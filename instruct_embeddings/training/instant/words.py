"""The instructions of a training run, put together by rules from a table."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["only", "prefer", "no", "both"]

_GIVEN = {"question": "question", "claim": "claim", "any": "text"}
_CLAUSE_OF_KIND, _WHOLE, _WHOLE_OF_KIND = 0.7, 0.3, 0.6
_GIVEN_SHARE, _FULL_STOP, _CAPITAL = 0.15, 0.6, 0.8
_UNFRAMED = 0.5


@dataclass(frozen=True)
class Words:
    """Makes instructions.

    Attributes:
        table: What `instant-instructions.toml` holds.
    """

    table: dict[str, Any]

    def relation(self, rng: random.Random, name: str, aspect: str) -> str | None:
        """A wording of a relation that a retrieval set is asked for; None where it has none."""
        own = self.table["relations"].get(name, {}).get(aspect)
        return None if own is None else rng.choice(own["instructions"])

    def plain(self, rng: random.Random, kind: str) -> str:
        """An instruction that asks for nothing but what any search gives.

        Args:
            rng: Chooses.
            kind: What queries are: "question", "claim" or "any".
        """
        table = self.table["plain"]
        if rng.random() < _WHOLE:
            own = kind if rng.random() < _WHOLE_OF_KIND else "any"
            return str(rng.choice(table[own]["whole"]))
        own = kind if rng.random() < _CLAUSE_OF_KIND else "any"
        clause = rng.choice(table[own]["clauses"])
        text = f"{rng.choice(table['verbs'])} {rng.choice(table['documents'])} {clause}"
        if rng.random() < _GIVEN_SHARE:
            text = f"Given a {_GIVEN[kind]}, {text[0].lower()}{text[1:]}"
        return text + ("." if rng.random() < _FULL_STOP else "")

    def unknown(self, rng: random.Random) -> str:
        """A question about something that the texts may not speak of."""
        thing, other = rng.sample(self.table["unknown"]["things"], 2)
        text = str(rng.choice(self.table["unknown"]["forms"])).format(t=thing, u=other)
        return text[0].upper() + text[1:] if rng.random() < _CAPITAL else text.lower()

    def constraint(self, rng: random.Random, kind: Kind, wanted: str, other: str = "") -> str:
        """A constraint as users write it.

        Args:
            rng: Chooses.
            kind: "both" asks for one thing and against another.
            wanted: What is asked for, or against.
            other: For "both", what is asked against.
        """
        x = wanted.strip().rstrip(".?")
        form = str(rng.choice(self.table["constraints"][kind]))
        return form.format(x=x, X=x[:1].upper() + x[1:], y=other.strip().rstrip(".?"))

    def framed(self, rng: random.Random, instruction: str) -> str:
        """A question as it is, or in a frame that asks for texts with the same answer."""
        if rng.random() < _UNFRAMED:
            return instruction
        return str(rng.choice(self.table["frames"]["forms"])).format(i=instruction)

    def sibling(self, rng: random.Random, instruction: str) -> str:
        """The wording of a relation, asked about what a passage is about."""
        form = str(rng.choice(self.table["frames"]["siblings"]))
        return form.format(i=instruction, j=instruction[:1].lower() + instruction[1:])


def chosen(rng: random.Random, shares: dict[str, float], among: Sequence[str]) -> str:
    """One of some names, by their shares."""
    names = [name for name in sorted(among) if shares.get(name, 0) > 0]
    return rng.choices(names, [shares[name] for name in names])[0]
