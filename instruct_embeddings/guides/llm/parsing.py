"""Strict reading of what the model replied: each parser admits known numbers only.

They raise `ReplyError`, whose message goes back to the model in the repair round.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from instruct_embeddings.guides.chat import ReplyError, json_array, json_object, without_thoughts
from instruct_embeddings.guides.llm.categories import (
    MAX_DESCRIPTION_CHARACTERS,
    MAX_NAME_CHARACTERS,
)
from instruct_embeddings.guides.llm.prompts import (
    MERGED_CATEGORIES,
    NAMES_PER_CLUSTER,
    clean,
    one_line,
)

SUMMARY_CHARACTERS = 200
_SHOWN = 20

# Answers that would gather what has nothing in common; "none" is there without being a category.
_LEFTOVERS = {
    *("none", "other", "others", "unknown", "unclear", "unspecified", "miscellaneous", "misc"),
    *("n/a", "not applicable", "not specified", "not stated", "various", "general"),
}
_DECLINED = re.compile(
    r"\b(?:sorry|apologi[sz]e|refuse|decline|unable to|not able to|cannot|(?:can|won)['\u2019]t)\b",
    re.IGNORECASE,
)


class Candidate(NamedTuple):
    """A proposed category."""

    name: str
    description: str

    @property
    def line(self) -> str:
        """As it is shown to the model."""
        return f"{self.name}: {self.description}" if self.description else self.name


def read_summaries(count: int) -> Callable[[str], list[str | None]]:
    """A parser of summaries, None where a text says nothing about the instruction."""

    def read(found: Mapping[str, Any]) -> list[str | None]:
        entries = _entries(found, count)
        wrong = [n for n, x in entries.items() if not (x is None or isinstance(x, str))]
        if wrong:
            raise ReplyError(f"Entry {wrong[0]} is neither a string nor null.")
        return [clean(one_line(x or ""), SUMMARY_CHARACTERS) or None for x in entries.values()]

    return lambda reply: json_object(reply, read)


def read_choices(count: int, categories: int) -> Callable[[str], list[int | None]]:
    """A parser of category numbers: 0 for none of them, None where the model refused a text."""

    def read(found: Mapping[str, Any]) -> list[int | None]:
        entries = _entries(found, count)
        for number, choice in entries.items():
            if choice is not None and not _is_number(choice, 0, categories):
                raise ReplyError(
                    f"Entry {number} is {choice!r:.60}, which is not a number from 0 to "
                    f"{categories} or null."
                )
        return list(entries.values())

    return lambda reply: json_object(reply, read)


def read_names(reply: str) -> list[Candidate]:
    """The categories of one cluster, leftovers such as "other" left out; possibly none."""

    def read(entries: Sequence[Any]) -> list[Candidate]:
        return _without_leftovers(_candidates(entries, NAMES_PER_CLUSTER))

    found: list[Candidate] = json_array(reply, read)
    return found


def read_merged(count: int) -> Callable[[str], list[Candidate]]:
    """A parser of merged categories, into which each of `count` proposed ones went once."""

    def read(entries: Sequence[Any]) -> list[Candidate]:
        found = _candidates(entries, MERGED_CATEGORIES)
        _check_each_once([n for entry in entries for n in _numbers(entry, count)], count)
        if len({one.name.casefold() for one in found}) < len(found):
            raise ReplyError("Two categories have the same name. Merge them or rename one.")
        return _without_leftovers(found)

    return lambda reply: json_array(reply, read)


def declined(reply: str) -> bool:
    """Whether a reply that could not be read is a refusal in prose."""
    text = without_thoughts(reply)
    return not reply.strip() or ("{" not in text and bool(_DECLINED.search(text)))


def _entries(found: Mapping[str, Any], count: int) -> dict[str, Any]:
    """The entries "1" to "count" of an object, in order."""
    wanted = [str(number) for number in range(1, count + 1)]
    missing = [number for number in wanted if number not in found]
    extra = sorted(set(found) - set(wanted))
    if missing or extra:
        raise ReplyError(
            f"The object needs exactly the keys 1 to {count}: missing {missing[:5]}, "
            f"not asked for {[key[:_SHOWN] for key in extra[:5]]}."
        )
    return {number: found[number] for number in wanted}


def _candidates(entries: Sequence[Any], most: int) -> list[Candidate]:
    if len(entries) > most:
        raise ReplyError(f"{len(entries)} categories are too many; give at most {most}.")
    return [_candidate(entry) for entry in entries]


def _candidate(entry: Any) -> Candidate:
    if not isinstance(entry, Mapping):
        raise ReplyError(f"The array holds {entry!r:.60}, which is not an object.")
    name, description = entry.get("name"), entry.get("description", "")
    if not isinstance(name, str) or not isinstance(description, str):
        raise ReplyError('Every category needs a "name" and a "description", both strings.')
    name, description = one_line(clean(name)), one_line(clean(description))
    if not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise ReplyError(
            f"A name has {len(name)} characters; 1 to {MAX_NAME_CHARACTERS} are allowed."
        )
    return Candidate(name, description[:MAX_DESCRIPTION_CHARACTERS].rstrip())


def _without_leftovers(found: list[Candidate]) -> list[Candidate]:
    return [one for one in found if one.name.casefold() not in _LEFTOVERS]


def _numbers(entry: Mapping[str, Any], count: int) -> list[int]:
    numbers = entry.get("numbers")
    good = isinstance(numbers, list) and all(_is_number(n, 1, count) for n in numbers)
    if not numbers or not good:
        raise ReplyError(f'"numbers" has to be a list of numbers from 1 to {count}.')
    return list(numbers)


def _check_each_once(numbers: Sequence[int], count: int) -> None:
    twice = sorted(number for number, times in Counter(numbers).items() if times > 1)
    missing = sorted(set(range(1, count + 1)) - set(numbers))
    if twice or missing:
        raise ReplyError(
            f"Each number goes to exactly one category: missing {missing[:10]}, twice {twice[:10]}."
        )


def _is_number(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
