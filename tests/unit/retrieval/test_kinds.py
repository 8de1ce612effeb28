"""What an instruction asks for."""

import pytest

from instruct_embeddings.retrieval.instructions import better_form, compares_documents, kind_of

ASPECTS = """
What is it about?
What colour is it?
Which disease or organism is studied?
Which product is it about?
Which claim does it support?
What question does it answer?
How urgent is it?
How does the customer sound?
What kind of problem is reported?
What programming language is it written in?
In which language is it written?
Who is it written for?
Is it positive or negative?
Left or right?
Programming language
Sentiment
by product
The main topic of the text
Identify the main category of the review
Identify the topic or theme of the given news articles
Classify the emotion expressed in the given message
Determine the intent of the utterance
Represent the sentence for clustering:
Represent the science title; Input:
Group the reviews by product
Find the language it is written in
Find the language of the program
Find the sentiment behind the text
Tell me which language it is written in
Tell me what it is about
Find what kind of problem the ticket reports
Describe the mood of the text
Find texts about the same topic
Find the ticket that reports the same problem
Retrieve semantically similar text.
Find duplicate questions
Given a review, identify the product
Please classify the sentiment
Can you determine the topic?
Compare them by their purpose
Focus on the tone
Same author
Which package manager does it use?
What can be done against it?
""".strip().splitlines()

REQUESTS = """
Answer briefly
Answer the question in German.
Find the abstract that supports the claim
Find the abstract that supports the claim.
Find the passage that answers the question.
Retrieve passages that answer the question
Given a claim, retrieve documents that support or refute the claim
Given a web search query, retrieve relevant passages that answer the query
Given a question, find the evidence
Instruct: Given a financial question, retrieve user replies that best answer the question
Which abstracts support the claim?
What documents mention the drug?
What answers the question?
Does it support the claim?
Find what can be done against it.
Find what caused it.
Find what it leads to.
Find which troubles follow.
Tell me what happened after it
Please find something cheaper
Show me everything about taxes
Give me three examples
List all packages for KDE
I am looking for a cheap laptop
I need a definition
We want recent papers
Looking for a recipe
Can you recommend a book?
Could you please summarise the document?
Summarize the key findings
Explain it to a child
You are a helpful assistant.
Be concise
Act as a lawyer
Translate the text into French
Do not make anything up
Don't mention prices
Only tools with a graphical interface
Only command line tools, nothing graphical.
Exclude anything about games
No games
Prefer passages that report experimental results
Written for beginners
Passages that report experimental results
Abstracts that contradict the claim
Evidence for the claim
Arguments against the motion
Answers to the question
Use only the context below
Search for documents about Python
Recommend something similar in spirit but cheaper, without ads, that supports my claim
""".strip().splitlines()


@pytest.mark.parametrize("instruction", ASPECTS)
def test_what_names_a_respect_is_an_aspect(instruction: str) -> None:
    assert kind_of(instruction) == "aspect"


@pytest.mark.parametrize("instruction", REQUESTS)
def test_what_asks_for_something_is_a_request(instruction: str) -> None:
    assert kind_of(instruction) == "request"


@pytest.mark.parametrize("shape", [str.upper, str.title, "  {}  ".format, "{}!".format])
def test_case_spacing_and_end_marks_do_not_count(shape: object) -> None:
    assert callable(shape)
    assert kind_of(shape("What is it about")) == "aspect"
    assert kind_of(shape("Find the abstract that supports the claim")) == "request"


def test_an_unknown_language_is_left_alone() -> None:
    assert kind_of("Worum geht es?") == "aspect"
    assert kind_of("\u4ec0\u4e48\u8bed\u8a00") == "aspect"


@pytest.mark.parametrize(
    ("key", "compares"),
    [
        ("encoder:0123", True),
        ("names:0123", True),
        ("metadata:language", False),
        ("labels:0123", False),
        ("judgements:0123:encoder:0123", False),
    ],
)
def test_guides_that_compare_documents_are_known_by_their_keys(key: str, compares: bool) -> None:
    assert compares_documents(key) is compares


def test_the_better_form_says_who_answers() -> None:
    assert "the instant query answers it" in better_form("Answer briefly", instant=True)
    said = better_form("Answer briefly", instant=False)
    assert said.startswith("'Answer briefly' asks for something")
    assert "the generic ranking is kept" in said
    assert "Which disease is it about?" in said
