"""Whether an instruction names an aspect or requests something, and what follows for a fit."""

import re
from functools import lru_cache
from typing import Literal, TypeAlias

from instruct_embeddings.retrieval.constraints import find_constraints

InstructionKind: TypeAlias = Literal["aspect", "request"]

# Keys of guides whose targets say how alike texts are under the instruction, and nothing of what
# answers a question: `EncoderGuide` and `LabelNamesGuide`.
_COMPARING = ("encoder:", "names:")

_POLITE = re.compile(
    r"^(?:(?:please|kindly|now|and|then|also|your\s+(?:task|job)\s+is\s+to"
    r"|(?:can|could|would|will)\s+you|i(?:'d|\s+would)\s+like\s+(?:you\s+)?to"
    r"|i\s+want\s+(?:you\s+)?to|(?:we|i|you)\s+(?:need|have|must|should)\s+to"
    r"|help\s+me\s+(?:to\s+)?|instruct(?:ion)?\s*:|task\s*:|query\s*:)[\s,:]+)+"
)
_GIVEN = re.compile(r"^(?:given|for|based\s+on|from|with|using|as)\s+[^,:]{1,120}[,:]\s*")
# A document, as what a search brings back; "the topic" is none.
_DOCUMENTS = (
    r"(?:documents?|docs?|passages?|texts?|articles?|papers?|abstracts?|paragraphs?|pages?|snippets?"
    r"|sentences?|answers?|evidence|sources?|results?|entr(?:y|ies)|records?|items?|posts?|messages?"
    r"|e-?mails?|tickets?|reviews?|reports?|questions?|packages?|programs?|tools?|products?|books?"
    r"|files?|functions?|code|recipes?|cases?|examples?|arguments?|reasons?|statements?|claims?"
    r"|solutions?|explanations?|definitions?|references?|studies|study|threads?|comments?|stories"
    r"|story|websites?|webpages?|chunks?|nodes?|information|facts?|proofs?|rebuttals?)"
)
_COMPARED = re.compile(
    r"\b(?:same|similar(?:ly|ity)?|alike|like\s+(?:this|it|these)|duplicates?|equivalent|paraphrases?"
    r"|near-?duplicates?|related\s+by|in\s+common|resembl\w+)\b"
)
_SORTING = re.compile(
    r"^(?:identify|determine|classif(?:y|ying)|categori[sz]e|label|tag|group|cluster|sort|represent"
    r"|distinguish|compare|detect|recogni[sz]e|name|decide|judge|focus\s+on|look\s+at|consider"
    r"|pay\s+attention\s+to|tell\s+apart|encode|embed)\b"
)
_FETCHING = (
    r"(?:find|retrieve|search|fetch|get|show|give|list|return|recommend|suggest|bring|look\s+(?:for|up)"
    r"|select|pick|choose|provide|locate|rank|extract|tell|describe|state|say)"
)
_FETCHES = re.compile(rf"^{_FETCHING}\b(?:\s+(?:me|us|out|for))*\s*(?P<rest>.*)$")
# "the language of the program", "which language it is written in": named, not fetched.
_NAMED = re.compile(
    r"^(?:the|its|their|his|her)\s+(?:\w+\s+){0,2}?(?P<noun>\w+)(?:\s+(?:or|and)\s+\w+)?"
    r"(?:$|\s+(?:of|in|behind|expressed|used|discussed|reported|it|they|that\s+(?:it|they|the|is)"
    r"|which\s+(?:it|they|the|is)|the\s+text|this)\b)"
)
# "which language it is written in" and "what it is about", but not "what caused it".
_ASKED = re.compile(
    r"^(?:what|which)\s+(?:(?:\w+\s+){1,3}?(?:it|they|the\s+\w+)\s+\w|(?:it|they)\s+(?:is|are)\b)"
)
_CHATTING = re.compile(
    r"^(?:answer|respond|reply|explain|summari[sz]e|translate|write|be|act|behave|use|cite|quote|help"
    r"|generate|think|make\s+sure|keep|ignore|do\s+not|don'?t|never|always|you\s+are|you'?re|pretend"
    r"|assume|imagine|rewrite|correct|draft|compose|solve|calculate|convert|respect|follow|stay"
    r"|speak|talk|start|begin|end|finish)\b"
)
_WANTING = re.compile(
    r"^(?:(?:i|we|they|users?)\s*(?:'m|'re|am|are|'d|would)?\s+(?:want|need|like|look(?:ing)?\s+for"
    r"|search(?:ing)?\s+for|interested\s+in|would\s+like)|(?:looking|searching)\s+for"
    r"|(?:wanted|needed)\s*:)\b"
)
_WHAT_COMES_BACK = re.compile(
    rf"^(?:all|any|the|an?|other|more|best|relevant)?\s*(?:\w+\s+)?{_DOCUMENTS}\s+(?:that|which|who"
    r"|whose|with|about|for|on|from|where|against|to|supporting|contradicting|refuting|answering"
    r"|describing|discussing|mentioning|showing|relevant)\b"
)
_WHICH_DOCUMENTS = re.compile(
    r"^(?:which|what)\s+(?:of\s+(?:the|these)\s+)?(?:\w+\s+)?(?:documents|passages|texts|articles"
    r"|papers|abstracts|paragraphs|pages|sources|results|entries|snippets|studies|evidence)\b"
    r"(?!.*\b(?:is|does|was|do)\s+(?:it|this|the\s+text)\b)"
)
# "What answers the question?", "Does it support the claim?": how a text relates to the query.
_RELATION = re.compile(
    r"\b(?:support|contradict|refut|answer|prove|disprove|entail|impl(?:y|ie)|confirm|rebut|oppos"
    r"|back(?:s|ing)?\s+up|justif|undermin)\w*\s+(?:(?:or|and)\s+\w+\s+)?"
    r"(?:the|a|an|this|that|my|your|our|given)\s+(?:\w+\s+)?"
    r"(?:claim|question|query|statement|hypothesis|argument|assertion|request|sentence)s?\b"
)
_QUESTION = re.compile(
    r"^(?:(?:in|on|at|to|from|by|for|with|of|about|under)\s+)?"
    r"(?:what|which|who|whom|whose|where|when|why|how|is|are|does|do(?!\s+not|n't)|was|were|has|have)\b"
)


@lru_cache(maxsize=512)
def kind_of(instruction: str) -> InstructionKind:
    """Whether an instruction names an aspect of texts, or requests something.

    "What is it about?", "How urgent is it?", "Programming language" name an aspect: any two texts
    can be compared in it. "Find the abstract that supports the claim", "Answer briefly", "Only
    tools with a graphical interface" request something: a relation to the query, an answer, a
    constraint. English only; what is not recognised is taken for an aspect.
    """
    text = " ".join(instruction.casefold().replace("\u2019", "'").split()).rstrip(".!?: ")
    text = _POLITE.sub("", _GIVEN.sub("", _POLITE.sub("", text)))
    if _RELATION.search(text):
        return "request"
    if _QUESTION.match(text):
        return "request" if _WHICH_DOCUMENTS.match(text) else "aspect"
    if _SORTING.match(text) or _COMPARED.search(text):
        return "aspect"
    if fetched := _FETCHES.match(text):
        return "aspect" if _names_an_aspect(fetched["rest"]) else "request"
    patterns = (_CHATTING, _WANTING, _WHAT_COMES_BACK)
    asks = any(pattern.match(text) for pattern in patterns) or find_constraints(instruction)
    return "request" if asks else "aspect"


def compares_documents(guide: str) -> bool:
    """Whether a guide, by its key, teaches only how alike documents are, by no one's labels."""
    return guide.startswith(_COMPARING)


def misleads(guide: str, instruction: str) -> bool:
    """Whether a guide, by its key, compares documents, and the instruction requests something."""
    return compares_documents(guide) and kind_of(instruction) == "request"


def better_form(instruction: str, *, instant: bool, override: str = "force=True") -> str:
    """What to say where a transform that compares documents is wanted for a request.

    `override` is what to give to use the transform all the same.
    """
    instead = "the instant query answers it" if instant else "the generic ranking is kept"
    return (
        f"{instruction!r} asks for something, and a transform learned without labels compares "
        f"texts in one respect; so {instead}. To adapt, name the respect, as in "
        '"Which disease is it about?" or "How urgent is it?". '
        f"{override} uses it all the same."
    )


def _names_an_aspect(rest: str) -> bool:
    """Whether "the language it is written in" follows, rather than what is to be fetched."""
    if _ASKED.match(rest):
        return True
    named = _NAMED.match(rest)
    return named is not None and re.fullmatch(_DOCUMENTS, named["noun"]) is None
