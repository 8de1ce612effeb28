"""Labels from a language model, for collections that have none."""

from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from instruct_embeddings.config import at_least, check_instruction, normalise_instruction
from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides._common import Embed
from instruct_embeddings.guides.asking import Asker, Cost, as_model
from instruct_embeddings.guides.asking.budget import Budget
from instruct_embeddings.guides.llm import prompts
from instruct_embeddings.guides.llm.categories import Categories
from instruct_embeddings.guides.llm.quoting import clean
from instruct_embeddings.guides.llm.report import LabellingReport
from instruct_embeddings.guides.llm.run import OnProgress
from instruct_embeddings.guides.llm.session import Means, Session
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Labels

Sample: TypeAlias = Rows | Sequence[str]


class LLMGuide:
    """Labels a sample by a language model, after GSTransform (arXiv 2505.24754, section 3.2).

    The model summarises each text under the instruction; the summaries are embedded and clustered;
    the model names the categories of each cluster from some of its members, merges duplicates, and
    gives each text one category or none. With categories of your own it only labels.

    Rows that the model refuses, that no category fits, or whose replies cannot be read stay
    unjudged and are counted in `last_report`. Texts are data: they stand between marks that they
    cannot forge, and only numbers of known categories are accepted as answers.

    Instantiate:
        ```python
        guide = LLMGuide(ChatOpenAI(model="gpt-4.1-mini", max_retries=0), cache="answers")
        ```

    Usage:
        ```python
        print(guide.estimate(instruction, texts))  # calls and tokens, before any is made
        guide.find_categories(instruction, texts).to_json("categories.json")  # read and edit
        guide = LLMGuide(model, categories=Categories.from_json("categories.json"))
        retriever = InstructionTransformRetriever(vectorstore=chroma, guide=guide)
        ```

    Args:
        model: A LangChain chat model, a LlamaIndex LLM, or any callable `str -> str`.
        categories: The categories to choose from: names, names with descriptions, or `Categories`
            that were found before. By default they are found in the sample.
        embed: Embeds the summaries: texts to vectors of shape (n, d). By default the encoder that
            comes with this package, without an instruction.
        cache: Folder in which every answer is kept when it arrives, so that an interrupted or
            repeated run pays for no answer twice. None keeps nothing.
        concurrency: Calls at the same time.
        max_calls: Most calls of one labelling.
        max_tokens: Most tokens of one labelling, in and out, by estimate.
        sample: Most texts that the model reads; None for all that were sampled.
        texts_per_call: Texts in one call. 1 costs more, and no text can disturb another.
        seed: Seed of the choice of texts, of clusters and of the marks around texts.
        on_progress: Called with the questions answered and planned.

    Attributes:
        last_report: Counts of the last `judge`, or None.

    Raises:
        ConfigError: An argument is out of its range, or the model is of no known kind.
    """

    def __init__(
        self,
        model: object,
        *,
        categories: Categories | Mapping[str, str] | Sequence[str] | None = None,
        embed: Embed | None = None,
        cache: Path | str | None = None,
        concurrency: int = 4,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        sample: int | None = 1000,
        texts_per_call: int = 8,
        seed: int = 0,
        on_progress: OnProgress | None = None,
    ) -> None:
        at_least("sample", sample, 4)
        at_least("texts_per_call", texts_per_call, 1, optional=False)
        at_least("seed", seed, 0, optional=False)
        self._model = as_model(model)
        self._given = None if categories is None else Categories.of(categories)
        asker = partial(
            Asker,
            self._model,
            cache=cache,
            concurrency=concurrency,
            max_calls=max_calls,
            max_tokens=max_tokens,
        )
        asker()  # says now what is out of range, not at the first search
        caps = Budget(max_calls, max_tokens)
        self._means = Means(asker, caps, embed or _embed, sample, texts_per_call, seed, on_progress)
        self._sessions: dict[str, Session] = {}
        self.last_report: LabellingReport | None = None

    def __repr__(self) -> str:
        """The model, and the categories where they were given."""
        names = list(self._given.names) if self._given else None
        return f"LLMGuide({self.model!r}, categories={names})"

    @property
    def model(self) -> str:
        """Name of the model, a part of the key and of the cache."""
        return self._model.name

    @property
    def key(self) -> str:
        """`llm:<model>:<digest>`; the digest is that of all that changes the labels."""
        means = self._means
        source = self._given.digest if self._given else _name(means.embed)
        parts = [prompts.VERSION, source, means.sample, means.per_call, means.seed]
        digest = sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]
        return f"llm:{self.model}:{digest}"

    def ids(self) -> Sequence[str] | None:
        """None: any row may be sampled."""
        return None

    def estimate(self, instruction: str, sample: Sample) -> Cost:
        """What judging a sample will cost at most, without repair rounds; asks nothing.

        Answers in the cache are counted as if they had to be paid for.

        Args:
            instruction: The plain sentence to judge under.
            sample: Rows with texts, or the texts themselves.
        """
        session = self._session(instruction)
        return session.estimate(_chosen(session, sample))

    def find_categories(self, instruction: str, sample: Sample) -> Categories:
        """Find the categories and label nothing yet, to read or edit them first.

        Args:
            instruction: The plain sentence to find them for.
            sample: Rows with texts, or the texts themselves.

        Raises:
            GuideError: There is too little to tell apart, a cap does not suffice, or the model
                cannot be asked.
        """
        session = self._session(instruction)
        return session.find_categories(_chosen(session, sample))

    def categories(self, instruction: str) -> Categories:
        """The categories of an instruction: those given, or those found before.

        Raises:
            GuideError: None were found yet, or those given answer another instruction.
        """
        found = self._session(instruction).categories
        if found is None:
            raise GuideError(
                f"No categories were found for {instruction!r} yet. Search under it first, or call "
                "find_categories(instruction, sample)."
            )
        return found

    def judge(self, instruction: str, sample: Rows) -> Labels:
        """Label the texts of a sample; rows without a verdict stay unjudged.

        Raises:
            GuideError: No row could be labelled, there is too little to tell apart, a cap does not
                suffice, or the model cannot be asked.
        """
        session = self._session(instruction)
        found = session.judge(_chosen(session, sample))
        verdicts = [found.get(text) for text in _shown(sample)]
        self.last_report = session.report(verdicts)
        if not self.last_report.labelled:
            raise GuideError(
                f"The model {self.model} labelled none of the {len(sample)} sampled rows for "
                f"{instruction!r}: {self.last_report}. Ask something that the texts answer, give "
                "other categories, or use another model."
            )
        return Labels.single([v if isinstance(v, str) else None for v in verdicts])

    def _session(self, instruction: str) -> Session:
        """The work under an instruction, however it is typed."""
        text, key = check_instruction(instruction), normalise_instruction(instruction)
        made_for = self._given.instruction if self._given else None
        if made_for is not None and normalise_instruction(made_for) != key:
            raise GuideError(
                f"The categories of this guide were made for {made_for!r}, not for {text!r}. Use "
                "that instruction, or GuideByInstruction with a guide for each."
            )
        return self._sessions.setdefault(key, Session(self._means, text, self._given))


def _chosen(session: Session, sample: Sample) -> list[str]:
    """The texts to read."""
    chosen = session.choose(_shown(sample))
    if not chosen:
        raise GuideError(
            f"None of the {len(sample)} sampled rows has a text, so there is nothing for the model "
            "to read. Store texts with the vectors, or use another guide."
        )
    return chosen


def _shown(sample: Sample) -> list[str]:
    """Texts as they are shown to the model, one a row; empty for rows that have none."""
    if isinstance(sample, str):
        raise ConfigError(f"A sample is several texts, got one string {sample!r:.60}. Use a list.")
    texts = (sample.texts or [None] * len(sample)) if isinstance(sample, Rows) else sample
    return [clean(text or "") for text in texts]


def _embed(texts: Sequence[str]) -> Any:
    """Generic embeddings of the encoder that comes with this package, shape (n, d)."""
    from instruct_embeddings.encoder import InstructEncoder

    return InstructEncoder.from_pretrained().encode(texts)


def _name(embed: Embed) -> str:
    """What tells one embedder from another: its function, and the model that it belongs to."""
    owner = getattr(embed, "__self__", embed)
    told = [getattr(owner, attribute, None) for attribute in ("name", "model_name", "model")]
    model = next((name for name in told if isinstance(name, str)), "")
    function = embed if hasattr(embed, "__qualname__") else type(embed)
    # Methods of builtins have no module.
    return f"{getattr(function, '__module__', '')}.{function.__qualname__}:{model}"
