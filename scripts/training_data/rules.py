"""Rules that read a label off a text where its words leave no doubt, and None where they do."""

import re
from itertools import pairwise
from typing import NamedTuple

AUXILIARY = (
    *("is", "are", "was", "were", "do", "does", "did", "can", "could", "has", "have", "had"),
    *("will", "would", "should", "am", "may", "must"),
)
PREPOSITION = r"(?:(?:in|on|at|of|for|from|to|by|with|during|under|about|into|through|since)\s+)?"
WH = re.compile(rf"^{PREPOSITION}(who|whom|whose|where|when|why|how|what|which)\b\s*(.*)$", re.S)
YES_NO = re.compile(
    rf"^(?:{'|'.join(AUXILIARY)})\b(?!.*\b(?:or|what|who|which|where|when|why|how)\b)"
)

# Head noun of a question -> what is asked for. The coarse kind of each stands in KINDS.
NOUNS = {
    "year": "year", "years": "year", "date": "date", "day": "date", "month": "date",
    "century": "period", "decade": "period", "era": "period", "season": "period",
    "city": "city", "town": "city", "capital": "city", "country": "country", "nation": "country",
    "countries": "country", "continent": "region", "state": "region", "county": "region",
    "region": "region", "province": "region", "river": "water", "sea": "water", "ocean": "water",
    "lake": "water", "island": "island", "mountain": "mountain", "street": "street",
    "place": "place", "location": "place", "building": "building", "stadium": "building",
    "airport": "building", "percentage": "percentage", "percent": "percentage",
    "proportion": "percentage", "number": "count", "population": "count", "amount": "amount",
    "price": "money", "cost": "money", "temperature": "temperature", "speed": "speed",
    "distance": "distance", "height": "size", "length": "size", "size": "size", "age": "age",
    "actor": "person", "actress": "person", "author": "person", "king": "person",
    "queen": "person", "president": "person", "singer": "person", "player": "person",
    "person": "person", "writer": "person", "artist": "person", "poet": "person",
    "composer": "person", "comedian": "person", "scientist": "person", "emperor": "person",
    "politician": "person", "philosopher": "person", "footballer": "person", "man": "person",
    "woman": "person", "novelist": "person", "director": "person", "monarch": "person",
    "team": "group", "company": "group", "organization": "group", "band": "group",
    "group": "group", "party": "group", "university": "group", "agency": "group",
    "language": "language", "languages": "language", "animal": "animal", "animals": "animal",
    "bird": "animal", "fish": "animal", "insect": "animal", "color": "colour",
    "colour": "colour", "song": "work", "book": "work", "novel": "work", "film": "work",
    "movie": "work", "play": "work", "album": "work", "opera": "work", "painting": "work",
    "sport": "sport", "disease": "disease", "illness": "disease", "food": "food",
    "fruit": "food", "drink": "food", "vegetable": "food", "currency": "currency",
    "religion": "religion", "instrument": "instrument", "award": "award", "prize": "award",
    "element": "substance", "metal": "substance", "mineral": "substance",
    "plant": "plant", "tree": "plant", "flower": "plant", "war": "event", "battle": "event",
    "organ": "body", "bone": "body", "word": "term", "term": "term",
    "purpose": "reason", "reason": "reason", "cause": "reason",
    "causes": "reason", "symptoms": "symptom", "symptom": "symptom",
}  # fmt: skip
KINDS = {
    "time": ("date", "year", "period", "duration", "frequency", "time"),
    "place": (
        *("place", "city", "country", "region", "water", "island", "mountain", "street"),
        "building",
    ),
    "number": (
        *("count", "amount", "percentage", "money", "temperature", "speed", "distance", "size"),
        "age",
    ),
    "person": ("person", "group"),
    "description": ("reason", "manner", "definition", "feeling", "action", "appearance", "words"),
    "abbreviation": ("abbreviation",),
    "yesno": ("yesno",),
}
KIND_OF = {detail: kind for kind, details in KINDS.items() for detail in details}
HOW = {
    "many": "count", "old": "age", "long": "duration", "far": "distance", "tall": "size",
    "high": "size", "deep": "size", "wide": "size", "big": "size", "large": "size",
    "often": "frequency", "frequently": "frequency", "fast": "speed", "hot": "temperature",
    "cold": "temperature", "come": "reason",
}  # fmt: skip
MONEY_VERB = re.compile(r"\b(?:cost|pay|paid|earn|earned|worth|spend|spent|charge|sell|sold)s?\b")
DID = "(?:did|does|do|will|would|has|have) "
NOT_A_TERM = (
    "the|your|my|our|their|his|her|its|this|that|these|those|it|they|you|on|in|all|some|\\w+est"
)
WHAT = (
    (r"(?:caused|causes|cause)\b", "reason"),
    (r"(?:happened|happens|happen)\b|will happen\b", "action"),
    (rf"(?:is|are) (?:an? )?(?!(?:{NOT_A_TERM})\b)[\w-]+(?: [\w-]+)?(?<! for)$", "definition"),
    (r".*\bmeans?$", "definition"),
    (r"is the (?:definition|meaning) of\b", "definition"),
    (DID + r".*\blooks? like\b", "appearance"),
    (DID + r".*\bfeel\b", "feeling"),
    (DID + r".*\bdo\b", "action"),
    (DID + r"[\w' -]+? (?:say|tell|think|promise|answer|reply)\b", "words"),
    (DID + r"[\w' -]+? (?:see|eat|drink|wear|buy|find|bring|receive|carry|catch|sell)\b", "thing"),
)
NAMED = re.compile(r"(?:is|was|are|were) the (?:first |last )?names? of (?:the|an?) (\w+)\b")
ASKED = re.compile(r"(?:is|was|are|were) the (?:\w+ )?(\w+) (?:of|in|that|which|who|for|by)\b")
ENDS = (
    *AUXILIARY,
    *("of", "from", "for", "with", "by", "at", "on", "to", "the", "that", "who", "whose"),
    *("won", "wrote", "sang", "became", "made", "takes"),
)


class Question(NamedTuple):
    """What a question asks for: coarse kind and detail."""

    kind: str
    detail: str


def question(text: str) -> Question | None:
    """What kind of answer a question wants."""
    words = " ".join(text.lower().replace("?", " ").split())
    detail = _detail(words)
    return Question(KIND_OF.get(detail, "entity"), detail) if detail else None


def _detail(words: str) -> str | None:
    if re.search(r"\bstands? for\b|\babbreviation\b|\bacronym\b", words):
        return "abbreviation"
    if words.startswith("name something"):
        return "thing"
    match = WH.match(words)
    if not match:
        return "yesno" if YES_NO.match(words) else None
    first, rest = match.groups()
    simple = {"who": "person", "whom": "person", "where": "place", "when": "time", "why": "reason"}
    if first in simple:
        return simple[first]
    if first == "how":
        return _how(rest)
    return None if first == "whose" else _what(rest)


def _how(rest: str) -> str | None:
    word = rest.split(" ")[0]
    if word == "much":
        return "money" if MONEY_VERB.search(rest) else "amount"
    if word in HOW:
        return HOW[word]
    if word not in AUXILIARY and word != "to":
        return None
    return "feeling" if re.search(r"\bfeel(?:ing)?\b", rest) else "manner"


def _what(rest: str) -> str | None:
    for pattern, detail in WHAT:
        if re.match(pattern, rest):
            return detail
    if "state of" in rest:  # of matter, of mind
        return None
    if rest.startswith(AUXILIARY):
        asked = NAMED.match(rest) or ASKED.match(rest)
        return NOUNS.get(asked.group(1)) if asked else None
    return NOUNS.get(_head(rest))


def _head(rest: str) -> str:
    """The last word of the noun phrase after what or which; empty if its end is not clear."""
    words = rest.split(" ")[:6]
    if words[0] in ("type", "kind", "sort") and words[1:2] == ["of"]:
        return ""
    for before, word in pairwise(words):
        if word in ENDS or word.endswith("ed"):
            return before
    return ""


VERBS = (
    *("set", "tell", "show", "give", "book", "find", "make", "call", "turn", "play", "add"),
    *("remove", "change", "remind", "put", "order", "check", "cancel", "please", "transfer"),
    *("pay", "schedule", "let", "get", "send", "freeze", "open", "start", "stop", "help"),
    *("look", "read", "explain", "delete", "create", "update", "switch", "reset", "take"),
    *("use", "move", "block", "activate"),
)
OPENINGS = (
    *("i", "my", "the", "he", "she", "it", "there", "this", "that", "these", "we", "they", "in"),
)
ASKED_OF_YOU = re.compile(
    r"(?:can|could|would|will) (?:you|u)\b|i (?:want|need|would like) you to\b"
)


def form(text: str) -> str | None:
    """Whether a text of one sentence is a question, a request or a statement."""
    words = text.strip().lower()
    if not words or re.search(r"[.?!]\s+\S", words):
        return None
    first, end = re.split(r"\W", words, maxsplit=1)[0], words[-1]
    if ASKED_OF_YOU.match(words) or (first in VERBS and end != "?"):
        return "request"
    asks = bool(WH.match(words)) or first in AUXILIARY
    if end == "?":
        return "question" if asks else None
    if asks:
        return None if end in ".!" or first in ("when", "may") else "question"
    return "statement" if end == "." and first in OPENINGS else None


FIRST = re.compile(
    r"\b(?:I'm|I've|I'll|I'd|i'm|i've|i|me|Me|my|My|mine|Mine|myself|we|We|us|ours?|Ours?)\b"
)
BEFORE_I = (
    *AUXILIARY,
    *("if", "oh", "no", "yes", "yeah", "and", "but", "so", "when", "what", "where", "how"),
    *("that", "because", "as", "since", "then", "also", "now", "maybe", "sorry", "thanks"),
)


def person(text: str) -> str | None:
    """Whether the writer speaks of themselves; None for a doubtful I, as in World War I."""
    if FIRST.search(text):
        return "first"
    capital = re.search(r"(\w*)\W*\bI\b", text)
    if not capital:
        return "other"
    before = capital.group(1)
    return None if before[:1].isupper() and before.lower() not in BEFORE_I else "first"


NUMBER = re.compile(
    r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|"
    r"fifty|hundred|thousand|million|billion|dozen)\b"
)
MAYBE_NUMBER = re.compile(
    r"\b(?:one|first|second|third|half|once|twice|several|couple|zero|single)\b"
)
TIME = re.compile(
    r"\b(?:january|february|april|june|july|august|september|october|november|december|"
    r"monday|tuesday|wednesday|thursday|friday|saturday|sunday|"
    r"today|tomorrow|yesterday|tonight|(?:1[5-9]|20)\d\d|\d+ ?[ap]\.?m|"
    r"(?:last|next|this) (?:week|month|year|night|summer|winter|weekend))\b|\d:\d\d|\bo'clock\b"
)
MAYBE_TIME = re.compile(
    r"\b(?:may|march|days?|weeks?|months?|years?|hours?|minutes?|times?|morning|evening|night|"
    r"now|ago|century|date|when|recent\w*|daily|soon|noon|spring|summer|autumn|winter)\b"
    r"|\d{3,4}|'\d\d"
)
CURRENCY = r"(?:dollars?|euros?|pounds?|bucks|cents|usd|eur|gbp|quid|pence)"
MONEY = re.compile(rf"[$£€]\s?\d|\d\s?{CURRENCY}\b")
MAYBE_MONEY = re.compile(rf"[$£€]|\b(?:{CURRENCY}|price|costs?|money|fee|pay)\b")
POLITE = re.compile(r"\b(?:please|pls|thanks?|thank you|kindly)\b")


def mentions(text: str) -> dict[str, str]:
    """Which of number, time and money are certainly mentioned, or certainly not."""
    words = text.lower()
    found = {}
    for name, sure, maybe in (
        ("numbers", NUMBER, MAYBE_NUMBER),
        ("time", TIME, MAYBE_TIME),
        ("money", MONEY, MAYBE_MONEY),
    ):
        if sure.search(words):
            found[name] = "yes"
        elif not maybe.search(words):
            found[name] = "no"
    return found


def polite(text: str) -> str:
    """Whether a request has please or thanks in it."""
    return "yes" if POLITE.search(text.lower()) else "no"


PRAISE = re.compile(
    r"\b(?:great|loves?|perfect|excellent|awesome|best|wonderful|amazing|five stars|nice|"
    r"works well|good|very happy|beautiful|fantastic|delicious)\b"
)
BLAME = re.compile(
    r"\b(?:bad|poor|terrible|awful|disappoint\w*|waste|worst|junk|broke|one star|two stars|"
    r"horrible|useless|defective|didn't work|did not work|doesn't work|does not work|stopped|"
    r"not (?:worth|recommend\w*|too impressed|what|quite|good|happy))\b"
)
HEDGE = re.compile(r"\b(?:but|three stars|ok|okay|except|however|almost|no|not|first|could)\b|\?")


def verdict(title: str) -> str | None:
    """Whether the title of a review praises or blames; None if it does neither or both."""
    words = title.lower()
    if BLAME.search(words):
        return None if PRAISE.search(BLAME.sub(" ", words)) else "negative"
    return "positive" if PRAISE.search(words) and not HEDGE.search(words) else None
