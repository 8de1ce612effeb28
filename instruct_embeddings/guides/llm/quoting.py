"""Texts of a collection inside a prompt: data between marks that no text can forge."""

import re
from collections.abc import Sequence
from hashlib import sha256

from instruct_embeddings.guides.asking.thoughts import CLOSING, OPENING

TEXT_CHARACTERS = 2000
_CUT = " [...]"

# Words that chat templates give to the tokens that switch roles. A server that parses them inside
# a text would take what follows for the user's or the model's own turn.
_ROLE_TOKENS = re.compile(
    r"<(?=[|\uff5c]|/?(?:s|bos|eos|start_of_turn|end_of_turn)>|</?SYS>>)|\[(?=/?INST\])"
    r"|assistant(?=final)",
    re.IGNORECASE,
)
# A model may quote a text while it thinks: no text ends its thoughts.
_THOUGHTS = re.compile(f"{CLOSING.pattern}|{OPENING.pattern}", re.IGNORECASE)
# Control characters, marks that turn the direction of writing, the invisible tag letters that hide
# a message from human readers, and halves of surrogate pairs, which cannot be sent at all.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)


def clean(text: str, characters: int = TEXT_CHARACTERS) -> str:
    """A text as it is shown to a model, cut to a length.

    Without control characters, tokens that switch roles, and marks of thoughts.
    """
    shown = text if len(text) <= characters else text[:characters] + _CUT
    shown = _ROLE_TOKENS.sub(r"\g<0> ", _UNPRINTABLE.sub(" ", shown))
    return _THOUGHTS.sub(lambda mark: f"{mark[0][0]} {mark[0][1:]}", shown).strip()


def one_line(text: str) -> str:
    """A text without line breaks and repeated white space."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split())


def make_key(texts: Sequence[str], seed: int) -> str:
    """A word that is in none of the texts and that their authors cannot foresee.

    The same texts and seed give the same key, so that an answer is found again in the cache.

    Args:
        texts: Everything that will stand in the prompt.
        seed: Seed of the guide.
    """
    material = "\x1f".join([str(seed), *texts])
    while True:
        key = sha256(material.encode("utf-8", "replace")).hexdigest()[:8]
        if not any(key in text for text in texts):
            return key
        material += key


def quote(texts: Sequence[str], key: str) -> str:
    """Numbered texts that went through `clean`, each between marks that carry the key."""
    return "\n".join(
        quote_block(f"text {number}", text, key) for number, text in enumerate(texts, start=1)
    )


def quote_block(name: str, text: str, key: str) -> str:
    """One text between marks that carry a name and the key."""
    return f"<{name} {key}>\n{text}\n</{name} {key}>"
