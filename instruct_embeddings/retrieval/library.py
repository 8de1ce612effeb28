"""The transforms of one collection: known, stored, or fitted now."""

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from instruct_embeddings._recent import Recent
from instruct_embeddings._threads import make_anew_after_fork
from instruct_embeddings._warnings import warn
from instruct_embeddings.config import FitConfig, check_instruction, normalise_instruction
from instruct_embeddings.errors import (
    ArtefactError,
    GuideError,
    TransformMismatchError,
    TransformWarning,
)
from instruct_embeddings.guides.by_instruction import chosen_guide
from instruct_embeddings.guides.judgements import JudgementGuide
from instruct_embeddings.protocols import Guide, VectorCollection
from instruct_embeddings.retrieval.answering import ask
from instruct_embeddings.retrieval.kinds import better_form, compares_documents, kind_of
from instruct_embeddings.retrieval.learning import fit_all
from instruct_embeddings.retrieval.progress import OnFit, Progress
from instruct_embeddings.retrieval.questions import Questions
from instruct_embeddings.retrieval.reuse import InstructionMatcher, Reuse
from instruct_embeddings.retrieval.sampling import sample_rows, unchanged
from instruct_embeddings.transform.judgements import MAX_PAIRS, refine
from instruct_embeddings.transform.store import TransformStore
from instruct_embeddings.transform.transform import InstructionTransform

_Key = tuple[str, str]

# Transforms kept in memory: 58 MB of 768 dimensions.
KEPT_TRANSFORMS = 128
_TOLD = 4096
_log = logging.getLogger(__name__)


class TransformLibrary:
    """Finds the transform of an instruction: in memory, in a store, or by fitting it.

    Each is fitted once, however many threads ask; who asks for a known one never waits. The last
    `KEPT_TRANSFORMS` that were used are kept in memory; one that was forgotten is read from the
    store again, and fitted again where there is none.

    Attributes:
        collection: The collection whose vectors are adapted.
        guide: Teaches transforms; None limits the library to stored ones.
        store: Where transforms are kept between processes; None keeps them in memory only.
        fit_config: How transforms are fitted.
        force: Whether a transform serves that does not beat the generic vectors.
        reuse: When the transform of another instruction serves; None for never.
        questions: Judged questions that decide how a transform is used; None if there are none.
        on_fit: Is told how fits go on.
    """

    def __init__(
        self,
        collection: VectorCollection,
        guide: Guide | None,
        *,
        store: TransformStore | None,
        fit: FitConfig,
        force: bool,
        reuse: Reuse | None = None,
        questions: Questions | None = None,
        on_fit: OnFit | None = None,
    ) -> None:
        """Put the parts together; nothing is read yet."""
        self.collection = collection
        self.guide = guide
        self.store = store
        self.fit_config = fit
        self.force = force
        self.reuse = reuse
        self.questions = questions
        self.on_fit = on_fit
        self._told: Recent[str, bool] = Recent(_TOLD)
        self._matcher = None if reuse is None else InstructionMatcher(collection, reuse)
        self._known: Recent[_Key, InstructionTransform] = Recent(KEPT_TRANSFORMS)
        self.make_anew()
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """Forget who fits what; what is known stays."""
        # Locks live as long as somebody holds or awaits them.
        self._fitting: WeakValueDictionary[_Key, Any] = WeakValueDictionary()
        self._locking = threading.Lock()

    def find(self, instruction: str) -> InstructionTransform | None:
        """The transform of an instruction where nothing has to be fitted for it."""
        key = self._key(instruction)
        known = self._known.get(key)
        if known is None and (stored := self._stored(instruction)) is not None:
            known = self._judged(stored)
            if known is not stored:
                self._keep(known)
        return known and self._known.put(key, known)

    def get(self, instruction: str) -> InstructionTransform:
        """The transform of an instruction.

        Raises:
            GuideError: It has to be fitted, and there is no guide, or nothing to learn from.
            TransformMismatchError: There is no guide, and what is stored under the instruction
                belongs to another collection.
            EmptyCollectionError: The collection is empty.
        """
        return self.get_all([instruction])[0]

    def get_all(self, instructions: Sequence[str]) -> list[InstructionTransform]:
        """The transforms of several instructions; what is missing is learned from one sample.

        Raises:
            GuideError, TransformMismatchError, EmptyCollectionError: See `get`.
        """
        keys = [self._key(text) for text in instructions]
        found = {key: self._known.get(key) for key in keys}
        missing: dict[_Key, str] = {}
        for key, text in zip(keys, instructions, strict=True):
            if found[key] is None:
                missing.setdefault(key, text)
        if missing:
            found |= self._look_up_or_fit(missing)
        return [known for key in keys if (known := found[key])]

    def refit(self, instruction: str) -> InstructionTransform:
        """Fit again from a fresh sample and replace what is known and stored."""
        with self._lock_of(self._key(instruction)):
            [fitted] = self._fit([instruction], afresh=True)
        return fitted

    def guide_for(self, instruction: str) -> Guide | None:
        """The guide that teaches an instruction.

        Raises:
            GuideError: There are guides by instruction, and none for this one.
        """
        return self.guide and chosen_guide(self.guide, instruction)

    def serves(self, transform: InstructionTransform, instruction: str, *, force: bool) -> bool:
        """Whether a transform ranks under an instruction.

        It does where its report says that it gains. But a guide that compares documents by nobody's
        labels measures agreement with itself: under an instruction that requests something ("Find
        the abstract that supports the claim") that agreement is high and answers get lost. So there
        its transform does not rank, unless judged questions say that it helps. Labels, judgements
        and language models decide as their reports say.

        Args:
            transform: Known or stored.
            instruction: What is asked for; the transform may be that of another one.
            force: Use it in any case.
        """
        report = transform.report
        if force or report.questions is not None:
            return force or report.used
        misled = compares_documents(transform.guide) and kind_of(instruction) == "request"
        return report.used and not misled

    def is_worth_fitting(self, instruction: str) -> bool:
        """Whether what the guide teaches could rank: see `serves`. False without a guide.

        Raises:
            GuideError: There are guides by instruction, and none for this one.
        """
        guide = self.guide_for(instruction)
        if guide is None or kind_of(instruction) == "aspect" or not compares_documents(guide.key):
            return guide is not None
        return bool(self.questions and self.questions.under(instruction))

    def warn_of_request(self, instruction: str, *, instant: bool) -> None:
        """Say once that a guide which compares documents cannot teach a request, and what can.

        Args:
            instruction: What is asked for; the guide does not teach it: see `is_worth_fitting`.
            instant: Whether an instant query answers it.
        """
        form = normalise_instruction(instruction)
        if form not in self._told:
            self._told.put(form, True)
            said = better_form(instruction, instant=instant)
            warn(said, TransformWarning)

    def _look_up_or_fit(
        self, missing: Mapping[_Key, str]
    ) -> "dict[_Key, InstructionTransform | None]":
        # In one order, so that two calls with some of the same instructions do not wait in a ring.
        with ExitStack() as stack:
            for key in sorted(missing):
                stack.enter_context(self._lock_of(key))
            # Another thread may have found or fitted some of them meanwhile.
            found = {key: self.find(text) or self._same(text) for key, text in missing.items()}
            new = [key for key, known in found.items() if known is None]
            fitted = self._fit([missing[key] for key in new])
        return found | dict(zip(new, fitted, strict=True))

    def _lock_of(self, key: _Key) -> "threading.Lock":
        with self._locking:
            lock: threading.Lock = self._fitting.setdefault(key, threading.Lock())
            return lock

    def _same(self, instruction: str) -> InstructionTransform | None:
        """The transform of an instruction that means the same, where that is asked for."""
        guide = self.guide_for(instruction)
        if self._matcher is None or guide is None:
            return None
        known = {one.instruction: one for one in self._known.values() if one.guide == guide.key}
        stored = self.store.summaries() if self.store else []
        info = self.collection.info()
        fitting = [one for one in stored if one.guide == guide.key and one.collection == info]
        newest = sorted(fitting, key=lambda one: one.created, reverse=True)
        others = dict.fromkeys([*known, *(one.instruction for one in newest)])
        found = self._matcher.match(check_instruction(instruction), list(others))
        serving = found and (known.get(found) or self.find(found))
        return self._known.put(self._key(instruction), serving) if serving else None

    def _key(self, instruction: str) -> _Key:
        return normalise_instruction(instruction), self.collection.info().fingerprint

    def _fit(
        self, instructions: Sequence[str], *, afresh: bool = False
    ) -> list[InstructionTransform]:
        """Fit, store and remember; in the order of the instructions."""
        fitted: dict[str, InstructionTransform] = {}
        by_guide: dict[str, tuple[Guide, list[str]]] = {}
        for text in instructions:
            guide = self._guide_or_fail(text)
            by_guide.setdefault(guide.key, (guide, []))[1].append(text)
        for guide, texts in by_guide.values():
            told = Progress(texts, self.on_fit)
            try:
                with unchanged(self.collection) as info:
                    taught = self._taught(guide, texts, afresh, told)
                    judged = [self._judged(one) for one in taught]
            except Exception:
                told.ended(well=False)
                raise
            for text, one in zip(texts, judged, strict=True):
                if not (one.report.used or self.force):
                    _warn_that_it_gains_nothing(one)
                self._keep(one)
                form = normalise_instruction(one.instruction)
                fitted[text] = self._known.put((form, info.fingerprint), one)
                told.of(one.instruction).ended(well=True)
        return [fitted[text] for text in instructions]

    def _judged(self, transform: InstructionTransform) -> InstructionTransform:
        """The transform with what judged questions say about it, where some are asked under it."""
        asked = self.questions.under(transform.instruction) if self.questions else []
        if self.questions is None or not asked:
            return transform
        found = ask(self.collection, transform, asked, self.questions.vectors)
        return replace(transform, report=replace(transform.report, questions=found))

    def _keep(self, fitted: InstructionTransform) -> None:
        """Store it; where that fails it serves from memory, rather than to be fitted each time."""
        try:
            if self.store is not None:
                self.store.put(fitted)
        except OSError as exc:
            _log.warning("A transform is not kept for the next process: %s", exc)

    def _taught(
        self, guide: Guide, instructions: Sequence[str], afresh: bool, told: Progress
    ) -> list[InstructionTransform]:
        """What a guide teaches; judgements correct what their start has taught before."""
        if not isinstance(guide, JudgementGuide) or guide.start is None:
            return fit_all(self.collection, guide, instructions, self.fit_config, told)
        judged = sample_rows(self.collection, MAX_PAIRS, seed=self.fit_config.seed, ids=guide.ids())
        starts = [self._start(guide.start, text, afresh, told) for text in instructions]
        return [
            refine(one, guide.judge(one.instruction, judged), guide=guide.key) for one in starts
        ]

    def _start(
        self, guide: Guide, instruction: str, afresh: bool, told: Progress
    ) -> InstructionTransform:
        """The transform to correct: stored, or fitted now and stored, so that it is fitted once."""
        own = chosen_guide(guide, instruction)
        known = None if afresh or not self.store else self._read(self.store, instruction, own)
        if known is None:
            [known] = self._taught(own, [instruction], afresh, told.of(instruction))
            self._keep(known)
        return known

    def _guide_or_fail(self, instruction: str) -> Guide:
        guide = self.guide_for(instruction)
        if guide is None:
            summaries = self.store.summaries() if self.store else []
            damaged = sum(summary.problem is not None for summary in summaries)
            also = f" ({damaged} stored ones cannot be read)" if damaged else ""
            raise GuideError(
                f"There is no stored transform for {check_instruction(instruction)!r}{also} and no "
                "guide to fit one. Pass a guide: EncoderGuide() needs no labels, "
                'MetadataGuide("key") takes those of the metadata.'
            )
        return guide

    def _stored(self, instruction: str) -> InstructionTransform | None:
        if self.store is None:
            return None
        guide = self.guide_for(instruction)
        if guide is not None:
            return self._read(self.store, instruction, guide)
        return self._stored_by_any_guide(self.store, instruction)

    def _read(
        self, store: TransformStore, instruction: str, guide: Guide
    ) -> InstructionTransform | None:
        try:
            return store.find(instruction, guide.key, self.collection.info())
        except ArtefactError as exc:
            _log.warning("A stored transform cannot be used and is fitted again: %s", exc)
            return None

    def _stored_by_any_guide(
        self, store: TransformStore, instruction: str
    ) -> InstructionTransform | None:
        """Without a guide the newest stored transform of the instruction serves."""
        wanted, info = normalise_instruction(instruction), self.collection.info()
        asked = [
            summary
            for summary in store.summaries()
            if summary.problem is None and normalise_instruction(summary.instruction) == wanted
        ]
        matching = [summary for summary in asked if summary.collection == info]
        if asked and not matching:
            raise TransformMismatchError(
                f"The stored transforms of {instruction!r} belong to {asked[0].collection}, not to "
                f"{info}. A transform fits only the vectors it learned from. Pass a guide to fit "
                "one for this collection."
            )
        if not matching:
            return None
        return store.get(max(matching, key=lambda summary: summary.created).key)


def _warn_that_it_gains_nothing(transform: InstructionTransform) -> None:
    warn(f"Instruction {transform.instruction!r}: {transform.report}", TransformWarning)
