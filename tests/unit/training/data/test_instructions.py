from pathlib import Path

import pytest

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.data.files import (
    Aspect,
    InstructionTable,
    load_instructions,
)


def load(folder: Path, text: str) -> InstructionTable:
    path = folder / "instructions.toml"
    path.write_text(text, encoding="utf-8")
    return load_instructions(path)


def test_wordings_and_answers_of_an_aspect_are_read(tmp_path: Path) -> None:
    table = load(
        tmp_path,
        '[bank.intent]\ninstructions = [" What for? ", "Which intent?"]\n'
        'answers = { oos = "something else" }',
    )
    aspect = table.aspect("bank", "intent")
    assert aspect.instructions == ("What for?", "Which intent?")
    assert aspect.answer("oos") == "something else"


@pytest.mark.parametrize(
    ("label", "answer"),
    [
        ("card_arrival", "card arrival"),
        ("Top-up__Failed", "top up failed"),
        ("neutral", "neutral"),
        ("_", "_"),
    ],
)
def test_a_label_is_its_own_answer_in_words(label: str, answer: str) -> None:
    assert Aspect("a/b").answer(label) == answer


def test_an_aspect_can_be_left_out(tmp_path: Path) -> None:
    assert load(tmp_path, "[papers.paper]\nskip = true").aspect("papers", "paper") == Aspect(
        "papers/paper"
    )


def test_an_aspect_without_instructions_is_named_with_its_set_and_file(tmp_path: Path) -> None:
    table = load(tmp_path, '[bank.intent]\ninstructions = ["What for?"]')
    with pytest.raises(
        ConfigError, match=r"'bank'.*'domain'.*instructions\.toml.*\[bank\.domain\]"
    ):
        table.aspect("bank", "domain")
    with pytest.raises(ConfigError, match=r"data\.instructions, which is none"):
        load_instructions(None).aspect("bank", "intent")


def test_other_wordings_replace_the_instruction_of_a_row(tmp_path: Path) -> None:
    table = load(tmp_path, '[[rewrites]]\ninstruction = "Old. "\ninstructions = ["New", "Newer"]')
    assert table.rewrites == {"Old.": ("New", "Newer")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bank = 1", r"\[bank\] is 1, not a table"),
        ("[bank]\nintent = 'x'", r"\[bank\.intent\] is 'x', not a table"),
        ("[bank.intent]", r"\[bank\.intent\] lacks the key 'instructions'"),
        ("[bank.intent]\ninstructions = []", r"instructions=\[\] must be one or more"),
        ("[bank.intent]\ninstructions = [' ']", r"\[bank\.intent\] instructions=.* empty"),
        ("[bank.intent]\ninstructions = [3]", "instructions=3 must be a valid string"),
        (
            "[bank.intent]\ninstructions = ['What?', 'what']",
            "must be one or more different instructions",
        ),
        ("[bank.intent]\nprompts = ['What?']", r"unknown key 'prompts'"),
        ("[bank.intent]\nskip = 1", "skip=1 must be a valid boolean"),
        ("[bank.intent]\ninstructions = ['W']\nanswers = { a = 3 }", "a=3 must be a valid string"),
        ("[rewrites]\na = 1", r"not a list of tables\. Write \[\[rewrites\]\]"),
        (
            "[[rewrites]]\ninstructions_ = 'W'\ninstructions = ['V']",
            r"\[\[rewrites\]\] 1: has the unknown key 'instructions_'.*Did you mean 'instructions'",
        ),
        ("[[rewrites]]\ninstructions = ['W']", "lacks the key 'instruction'"),
        (
            "[[rewrites]]\ninstruction = 'a'\ninstructions = ['b']\n"
            "[[rewrites]]\ninstruction = 'a'\ninstructions = ['c']",
            r"\[\[rewrites\]\] repeats the instruction 'a'",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "[[{long}]]",
        "[{long}.intent]\nskip = 1",
        "[bank.{long}]\nskip = 1",
        "[bank.intent]\nskip = '{long}'",
        "[bank.intent]\n{long} = 1",
        "[bank.intent]\ninstructions = '{long}'",
        "[bank.intent]\ninstructions = ['W']\nanswers = { {long} = 3 }",
        "[bank.intent]\ninstructions = ['W']\nanswers = { a = ['{long}'] }",
        "[[rewrites]]\ninstruction = ['{long}']\ninstructions = ['b']",
        "[bank.intent]\ninstructions = ['{half}', '{half}']",
    ],
)
def test_what_is_long_is_quoted_by_its_start(tmp_path: Path, text: str) -> None:
    """Found by fuzzing: the message was as long as the name."""
    text = text.replace("{long}", "x" * 5000).replace("{half}", "x" * 1900)
    with pytest.raises(ConfigError, match=r"\.\.\.") as caught:
        load(tmp_path, text)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 800
