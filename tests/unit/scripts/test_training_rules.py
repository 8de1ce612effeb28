"""What is read off a text, and when nothing is."""

import pytest

from scripts.training_data import rules


@pytest.mark.parametrize(
    ("text", "kind", "detail"),
    [
        ("Who wrote Hamlet?", "person", "person"),
        ("To whom did the king give the ring?", "person", "person"),
        ("where is the bridge", "place", "place"),
        ("When did the war end?", "time", "time"),
        ("In what year did the war end?", "time", "year"),
        ("What date was it?", "time", "date"),
        ("How long did the journey last?", "time", "duration"),
        ("How often does the bus run?", "time", "frequency"),
        ("How many wolves were there?", "number", "count"),
        ("How much does a loaf cost?", "number", "money"),
        ("How much of the milk was left?", "number", "amount"),
        ("How old was the queen?", "number", "age"),
        ("What percentage of the land is wood?", "number", "percentage"),
        ("Why did the fox run?", "description", "reason"),
        ("What caused the fire?", "description", "reason"),
        ("How did the fox open the door?", "description", "manner"),
        ("How did the fox feel afterwards?", "description", "feeling"),
        ("What did the fox look like?", "description", "appearance"),
        ("What did the fox do?", "description", "action"),
        ("What did the fox say to the hen?", "description", "words"),
        ("What is photosynthesis?", "description", "definition"),
        ("What does plastid mean?", "description", "definition"),
        ("What does NASA stand for?", "abbreviation", "abbreviation"),
        ("What did the fox eat?", "entity", "thing"),
        ("name something that floats", "entity", "thing"),
        ("Which country won the cup?", "place", "country"),
        ("What is the capital of Latvia?", "place", "city"),
        ("Which present day capital city was founded in 1201?", "place", "city"),
        ("What was the name of the book that he read?", "entity", "work"),
        ("Which team does she play for?", "person", "group"),
        ("Does the shop sell bread?", "yesno", "yesno"),
    ],
)
def test_a_question_tells_what_kind_of_answer_it_wants(text: str, kind: str, detail: str) -> None:
    assert rules.question(text) == (kind, detail)


@pytest.mark.parametrize(
    "text",
    [
        "What is the state of the matter?",  # neither a region nor a definition
        "Is it red or blue?",  # not yes or no
        "Will you keep my data? If yes, why?",
        "What type of animal is it?",  # a kind, not an animal
        "What team plays at the stadium named after her?",  # the end of "what team" is not marked
        "The fox ran away.",
        "",
    ],
)
def test_a_doubtful_question_is_left_out(text: str) -> None:
    assert rules.question(text) is None


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("what is the time", "question"),
        ("Is my card on its way?", "question"),
        ("set a timer", "request"),
        ("Can you set a timer?", "request"),
        ("i want you to set a timer", "request"),
        ("The soup was cold.", "statement"),
        ("What a day.", None),
        ("when i am home turn on the light.", None),
        ("Book?", None),
        ("The soup was cold. Why?", None),
        ("hmm", None),
    ],
)
def test_the_form_of_one_sentence(text: str, form: str | None) -> None:
    assert rules.form(text) == form


@pytest.mark.parametrize(
    ("text", "person"),
    [
        ("where is my card", "first"),
        ("Then I left.", "first"),
        ("Do I pay for it?", "first"),
        ("We measure speed.", "first"),
        ("The US left the pact.", "other"),
        ("The soup was cold.", "other"),
        ("It was lost in World War I.", None),
    ],
)
def test_the_first_person_is_told_from_a_numeral(text: str, person: str | None) -> None:
    assert rules.person(text) == person


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A cat sat down.", {"numbers": "no", "time": "no", "money": "no"}),
        ("Two cats sat down.", {"numbers": "yes", "time": "no", "money": "no"}),
        ("One may sit.", {"money": "no"}),  # a pronoun, and not the month
        ("It was on Monday.", {"numbers": "no", "time": "yes", "money": "no"}),
        ("It cost $20.", {"numbers": "yes", "time": "no", "money": "yes"}),
        ("It cost a fortune.", {"numbers": "no", "time": "no"}),  # no sum, but of money
        ("It began in 1914.", {"numbers": "yes", "time": "yes", "money": "no"}),
    ],
)
def test_mentions_are_said_only_where_they_are_certain(text: str, found: dict[str, str]) -> None:
    assert rules.mentions(text) == found


@pytest.mark.parametrize(
    ("title", "verdict"),
    [
        ("Five Stars", "positive"),
        ("Great product", "positive"),
        ("One Star", "negative"),
        ("Not worth it", "negative"),
        ("Did not work", "negative"),
        ("Great look, poor sound", None),
        ("Good, but small", None),
        ("Not great", None),
        ("Mouse", None),
    ],
)
def test_a_verdict_is_read_off_clear_titles(title: str, verdict: str | None) -> None:
    assert rules.verdict(title) == verdict


def test_politeness_is_in_the_words() -> None:
    assert rules.polite("Set a timer, please") == "yes"
    assert rules.polite("set a timer") == "no"
