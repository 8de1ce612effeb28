"""The second and last try at a reply that could not be read."""

import json

from instruct_embeddings.guides.asking.models import Prompt
from instruct_embeddings.guides.asking.thoughts import spoken

_MOST_CHARACTERS = 4000


def repair_prompt(prompt: Prompt, reply: str, problem: str) -> Prompt:
    """The same question, with the bad reply quoted and what is wrong with it.

    The reply may repeat texts of a collection, so it is quoted as one JSON string and cut. Thoughts
    are left out where something follows them.
    """
    cut = (spoken(reply).strip() or reply)[:_MOST_CHARACTERS]
    return Prompt(
        prompt.system,
        f"{prompt.user}\n\nYou have answered this before, and the answer could not be used. It "
        f"was, as a JSON string, possibly cut:\n{json.dumps(cut, ensure_ascii=False)}\n"
        f"What is wrong with it: {problem}\nAnswer again, in the form that was asked for and with "
        "nothing else.",
    )
