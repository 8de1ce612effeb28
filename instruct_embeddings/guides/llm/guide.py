"""Labels from a language model, for collections that have none."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from instruct_embeddings.config import at_least, check_instruction, normalise_instruction
from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides.base import Embed, OfAnyRow
from instruct_embeddings.guides.chat import ChatClient, Cost, as_model
from instruct_embeddings.guides.llm import prompts
from instruct_embeddings.guides.llm.categories import Categories, LabellingReport
from instruct_embeddings.guides.llm.steps import Labelling
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Labels

Sample: TypeAlias = Rows | Sequence[str]


class LLMGuide(OfAnyRow):
    """Labels a sample by a language model, after GSTransform (arXiv 2505.24754, section 3.2).

    The model summarises each text under the instruction; the summaries are embedded and clustered;
    the model names the categories of each cluster from some of its members, merges duplicates, and
    gives each text one category or none. With categories of your own it only labels.

    Rows that the model refuses, that no category fits, or whose replies cannot be read stay
    unjudged and are counted in `last_report`. Texts are data: they are quoted between marks that
    they cannot forge, and only numbers of known categories are accepted as answers.

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
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._sample = at_least("sample", sample, 4)
        self._per_call = at_least("texts_per_call", texts_per_call, 1, optional=False)
        self._seed = at_least("seed", seed, 0, optional=False)
        chat = as_model(model)
        self.model = chat.name
        """Name of the model, a part of the key and of the cache."""
        self._given = None if categories is None else Categories.of(categories)
        self._embed = embed or _embed
        self._client = partial(
            ChatClient,
            chat,
            cache=cache,
            concurrency=concurrency,
            max_calls=max_calls,
            max_tokens=max_tokens,
            on_progress=on_progress,
        )
        self._client()  # checks the options now, not at the first search
        self._labellings: dict[str, Labelling] = {}
        self.last_report: LabellingReport | None = None
        """Counts of the last `judge`, or None."""

    def __repr__(self) -> str:
        """The model, and the categories where they were given."""
        names = self._given and list(self._given.names)
        return f"LLMGuide({self.model!r}, categories={names})"

    @property
    def key(self) -> str:
        """`llm:<model>:<digest>`; the digest is that of all that changes the labels."""
        source = self._given.digest if self._given else _name(self._embed)
        parts = [prompts.VERSION, source, self._sample, self._per_call, self._seed]
        digest = sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]
        return f"llm:{self.model}:{digest}"

    def estimate(self, instruction: str, sample: Sample) -> Cost:
        """What judging rows with texts, or texts, will cost at most, without repair rounds.

        Nothing is called. Answers in the cache are counted as if they had to be paid for.
        """
        labelling = self._labelling(instruction)
        return labelling.estimate(self._choose(labelling, sample))

    def find_categories(self, instruction: str, sample: Sample) -> Categories:
        """Find the categories of rows with texts, or of texts, to read or edit them; label nothing.

        Raises:
            GuideError: There is too little to tell apart, a cap does not suffice, or the model
                cannot be asked.
        """
        labelling = self._labelling(instruction)
        return labelling.find_categories(self._choose(labelling, sample))

    def categories(self, instruction: str) -> Categories:
        """The categories of an instruction: those given, or those found before.

        Raises:
            GuideError: None were found yet, or those given answer another instruction.
        """
        found = self._labelling(instruction).categories
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
        labelling = self._labelling(instruction)
        found = labelling.judge(self._choose(labelling, sample))
        verdicts = [found.get(text) for text in _texts(sample)]
        self.last_report = labelling.report(verdicts)
        if not self.last_report.labelled:
            raise GuideError(
                f"The model {self.model} labelled none of the {len(sample)} sampled rows for "
                f"{instruction!r}: {self.last_report}. Ask something that the texts answer, give "
                "other categories, or use another model."
            )
        return Labels.single([v if isinstance(v, str) else None for v in verdicts])

    def _labelling(self, instruction: str) -> Labelling:
        """The work under an instruction, however it is typed."""
        text, key = check_instruction(instruction), normalise_instruction(instruction)
        made_for = self._given.instruction if self._given else None
        if made_for is not None and normalise_instruction(made_for) != key:
            raise GuideError(
                f"The categories of this guide were made for {made_for!r}, not for {text!r}. Use "
                "that instruction, or GuideByInstruction with a guide for each."
            )
        new = Labelling(text, self._given, self._embed, self._client, self._per_call, self._seed)
        return self._labellings.setdefault(key, new)

    def _choose(self, labelling: Labelling, sample: Sample) -> list[str]:
        """Different texts to read, in the order given, as many as the guide may read.

        Those that are judged already come first, since they cost nothing: a larger sample around
        the same texts is not paid for again.
        """
        different = [text for text in dict.fromkeys(_texts(sample)) if text]
        if not different:
            raise GuideError(
                f"None of the {len(sample)} sampled rows has a text, so there is nothing for the "
                "model to read. Store texts with the vectors, or use another guide."
            )
        drawn = np.random.default_rng(self._seed).permutation(len(different)).tolist()
        drawn.sort(key=lambda position: different[position] not in labelling.verdicts)
        return [different[position] for position in sorted(drawn[: self._sample])]


def _texts(sample: Sample) -> list[str]:
    """Texts as they are shown to the model, one a row; empty for rows that have none."""
    if isinstance(sample, str):
        raise ConfigError(f"A sample is several texts, got one string {sample!r:.60}. Use a list.")
    texts = (sample.texts or [None] * len(sample)) if isinstance(sample, Rows) else sample
    return [prompts.clean(text or "") for text in texts]


# Its name and that of this module are part of the keys of guides, as `_name` tells them.
def _embed(texts: Sequence[str]) -> Any:
    """Generic embeddings of the encoder that comes with this package, shape (n, d)."""
    from instruct_embeddings.encoder import InstructEncoder

    return InstructEncoder.from_pretrained().encode(texts)


def _name(embed: Embed) -> str:
    """What distinguishes embedders: the function, and the model that it belongs to."""
    owner = getattr(embed, "__self__", embed)
    names = [getattr(owner, attribute, None) for attribute in ("name", "model_name", "model")]
    model = next((name for name in names if isinstance(name, str)), "")
    function = embed if hasattr(embed, "__qualname__") else type(embed)
    # Methods of builtins have no module.
    return f"{getattr(function, '__module__', '')}.{function.__qualname__}:{model}"
