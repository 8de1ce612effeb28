"""Where a model that thinks aloud stops thinking.

Models write their thoughts in front of the answer, between marks of which servers and templates
often leave out the first. So an opening mark is not waited for: only what stands behind the last
closing one was said.
"""

import re

# Families of marks, and models that write them:
#   <think> </think>                      DeepSeek R1, Qwen3, GLM, OLMo; others name it thinking,
#                                         thought, reasoning, seed:think, longcat_think
#   [THINK] [/THINK]                      Magistral
#   \u25c1think\u25b7 \u25c1/think\u25b7              Kimi
#   <|begin_of_thought|> <|end_of_thought|>, <|START_THINKING|> <|END_THINKING|>   Sky, Command A
#   <|channel|>analysis <|channel|>final  gpt-oss (Harmony)
#   <|channel>thought <channel|>          Gemma; <unused94> <unused95> MedGemma
#   <|inner_prefix|> <|inner_suffix|>     Apertus
#   <|im_start|>think <|im_start|>answer  s1
_NAME = (
    r"(?:ant|[\w.]{1,20}[:_-])?"
    r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratch_?pad|analysis|rationale|"
    r"deliberation|contemplation|pondering|planning|(?:inner_?)?monologue|cot|"
    r"chain[_-]of[_-]thoughts?)(?:[_-](?:process|content|block|trace))?"
)
# Prose has words in square brackets too.
_IN_SQUARES = "(?:think(?:ing)?|thoughts?|reasoning)"
_LEFT = "(?:<[|\uff5c]?|\u25c1|&lt;)"
_RIGHT = "(?:[|\uff5c]?>|\u25b7|&gt;)"
_GAP = "[_\u2581 -]"
_ATTRIBUTES = r"(?:\s[^<>\[\]]{0,100})?"
# Channels in which a model speaks; what stands in any other was not meant for the user.
_SPEAKING = r"(?:final|response|answer|output)\b"

CLOSING = re.compile(
    rf"{_LEFT}(?:/|end{_GAP}?(?:of{_GAP})?){_NAME}{_ATTRIBUTES}{_RIGHT}"
    rf"|{_LEFT}{_NAME}{_GAP}(?:end|stop){_RIGHT}|\[/{_IN_SQUARES}\]"
    rf"|<\|channel\|?>\s{{0,9}}{_SPEAKING}"
    r"|<channel\|>|<unused95>|<\|inner_suffix\|>|<\|im_start\|>\s{0,9}answer\b",
    re.IGNORECASE,
)
OPENING = re.compile(
    rf"{_LEFT}(?:(?:start|begin){_GAP}(?:of{_GAP})?)?{_NAME}{_ATTRIBUTES}{_RIGHT}"
    rf"|\[{_IN_SQUARES}\]|<\|channel\|?>\s{{0,9}}(?!{_SPEAKING})\w"
    r"|<unused94>|<\|inner_prefix\|>|<\|im_start\|>\s{0,9}think",
    re.IGNORECASE,
)
# Marks that are plain words count only in a reply that begins with the first of them: Harmony whose
# special tokens a server dropped, and Granite.
_IN_WORDS = (
    (re.compile(r"\A\s*(?:analysis|commentary)(?=[A-Z\n])"), re.compile("assistantfinal")),
    (
        re.compile(r"\A\W{0,9}here(?:'s| is) my thought process\b", re.IGNORECASE),
        re.compile(r"here(?:'s| is) my (?:final )?response\b", re.IGNORECASE),
    ),
)


def spoken(reply: str) -> str:
    """What a model said after its thoughts; the whole reply where it shows none.

    Thoughts that begin within what is left are marked by `OPENING`.
    """
    closed = [mark.end() for mark in CLOSING.finditer(reply)]
    for begin, end in _IN_WORDS:
        if begin.match(reply):
            closed += [mark.end() for mark in end.finditer(reply)]
            # Nothing was said but thoughts.
            closed = closed or [len(reply)]
    return reply[max(closed, default=0) :]
