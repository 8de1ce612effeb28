"""The transforms of one collection: known, stored, or fitted now."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from instruct_embeddings._threads import Recent, make_anew_after_fork
from instruct_embeddings._warnings import warn
from instruct_embeddings.config import FitConfig, normal_form
from instruct_embeddings.errors import (
    ArtefactError,
    ConfigError,
    GuideError,
    TransformMismatchError,
    TransformWarning,
)
from instruct_embeddings.guides.annotations import JudgementGuide
from instruct_embeddings.guides.base import chosen_guide
from instruct_embeddings.protocols import (
    CollectionInfo,
    Guide,
    VectorCollection,
    missing_of_collection,
)
from instruct_embeddings.retrieval.fitting import OnFit, Progress, fit_all
from instruct_embeddings.retrieval.instructions import better_form, misleads
from instruct_embeddings.retrieval.questions import Questions, measure_transform
from instruct_embeddings.retrieval.reuse import InstructionMatcher, Reuse
from instruct_embeddings.retrieval.sampling import sample_rows, unchanged
from instruct_embeddings.transform.judgements import MAX_PAIRS, refine
from instruct_embeddings.transform.store import TransformStore
from instruct_embeddings.transform.transform import InstructionTransform

# Transforms kept in memory: 58 MB of 768 dimensions.
KEPT_TRANSFORMS = 128
_KEPT_WARNINGS = 4096
_Key: TypeAlias = tuple[str, CollectionInfo]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """A transform that answers an instruction, its own or another one that means the same."""

    transform: InstructionTransform
    instruction: str

    @cached_property
    def serves(self) -> bool:
        """Whether it ranks, by its report and guide.

        It does where its report says that it gains. But a guide that compares documents by nobody's
        labels measures agreement with itself: under an instruction that requests something ("Find
        the abstract that supports the claim") that agreement is high and answers get lost. So there
        its transform does not rank, unless judged questions say that it helps. Labels, judgements
        and language models decide as their reports say.
        """
        report = self.transform.report
        misled = misleads(self.transform.guide, self.instruction)
        return report.used and (report.questions is not None or not misled)

    @cached_property
    def blend(self) -> float:
        """Weight of the adapted score, as judged questions have chosen it."""
        return self.transform.report.blend or 1.0

    @cached_property
    def reused(self) -> tuple[str, ...]:
        """The instruction it was fitted for, where that is another one."""
        own = self.transform.instruction
        return () if normal_form(own) == normal_form(self.instruction) else (own,)


class TransformLibrary:
    """Finds the transform of an instruction: in memory, in a store, or by fitting it.

    Each is fitted once, however many threads want it; a known one never waits. The last
    `KEPT_TRANSFORMS` that were used are kept in memory; one that was forgotten is read from the
    store again, and fitted again where there is none. Instructions have passed `check_instruction`.
    """

    def __init__(
        self,
        collection: VectorCollection,
        guide: Guide | None,
        *,
        store: TransformStore | str | Path | None,
        fit: FitConfig,
        force: bool,
        reuse: Reuse | None = None,
        questions: Questions | None = None,
        on_fit: OnFit | None = None,
    ) -> None:
        """Nothing is read yet."""
        _check_collection(collection)
        _check_guide(guide)
        self.collection = collection
        self.guide = guide
        self.store = _open_store(store)
        self.fit_config = fit
        self.force = force
        self.questions = questions
        self.on_fit = on_fit
        self._warned: Recent[str, bool] = Recent(_KEPT_WARNINGS)
        self._matcher = None if reuse is None else InstructionMatcher(collection, reuse)
        self._known: OrderedDict[_Key, Known] = OrderedDict()  # the last used at the end
        self.make_anew()
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """Forget who fits what; what is known stays."""
        # Locks live as long as somebody holds or awaits them.
        self._fitting: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._lock = threading.Lock()

    def find(self, instruction: str, info: CollectionInfo | None = None) -> Known | None:
        """The transform of an instruction where nothing has to be fitted for it."""
        info = info or self.collection.info()
        known = self._remembered(normal_form(instruction), info)
        if known is None and (stored := self._stored(instruction, info)) is not None:
            measured = self._measured(stored)
            if measured is not stored:
                self._store(measured)
            known = self.remember(instruction, measured, info)
        return known

    def remember(
        self, instruction: str, transform: InstructionTransform, info: CollectionInfo
    ) -> Known:
        """Let a transform answer an instruction from now on."""
        known = Known(transform, instruction)
        with self._lock:
            self._known[normal_form(instruction), info] = known
            self._known.move_to_end((normal_form(instruction), info))
            while len(self._known) > KEPT_TRANSFORMS:
                self._known.popitem(last=False)
        return known

    def _remembered(self, form: str, info: CollectionInfo) -> Known | None:
        with self._lock:
            known = self._known.get((form, info))
            if known is not None:
                self._known.move_to_end((form, info))
            return known

    def get(self, instructions: Sequence[str]) -> list[Known]:
        """The transforms of some instructions; what is missing is learned from one sample.

        It raises as `InstructRetriever.transform`.
        """
        info = self.collection.info()
        forms = [normal_form(text) for text in instructions]
        found = {form: self._remembered(form, info) for form in forms}
        missing: dict[str, str] = {}
        for form, text in zip(forms, instructions, strict=True):
            if found[form] is None:
                missing.setdefault(form, text)
        if missing:
            found |= self._find_or_fit(missing)
        return [known for form in forms if (known := found[form])]

    def refit(self, instruction: str) -> InstructionTransform:
        """Fit again from a fresh sample and replace what is known and stored."""
        with self._lock_of(normal_form(instruction)):
            [fitted] = self._fit([instruction], afresh=True)
        return fitted.transform

    def guide_for(self, instruction: str) -> Guide | None:
        """The guide that teaches an instruction; GuideError where guides know none for it."""
        return self.guide and chosen_guide(self.guide, instruction)

    def is_taught(self, instruction: str, *, force: bool) -> bool:
        """Whether a fit is waited for: not where what the guide teaches would not rank.

        See `Known.serves`.
        """
        guide = None if force else self.guide_for(instruction)
        if guide is None or not misleads(guide.key, instruction):
            return True
        return bool(self.questions and self.questions.under(instruction))

    def warn_of_request(self, instruction: str, *, instant: bool) -> None:
        """Say once that a guide which compares documents cannot teach a request, and what can."""
        form = normal_form(instruction)
        if form not in self._warned:
            self._warned.put(form, True)
            warn(better_form(instruction, instant=instant), TransformWarning)

    def _find_or_fit(self, missing: Mapping[str, str]) -> dict[str, Known | None]:
        # In one order, so that two calls with some of the same instructions do not wait in a ring.
        with ExitStack() as stack:
            for form in sorted(missing):
                stack.enter_context(self._lock_of(form))
            # Another thread may have found or fitted some of them meanwhile.
            found = {form: self.find(text) or self._same(text) for form, text in missing.items()}
            new = [form for form, known in found.items() if known is None]
            fitted = self._fit([missing[form] for form in new])
        return found | dict(zip(new, fitted, strict=True))

    def _lock_of(self, form: str) -> "threading.Lock":
        with self._lock:
            lock: threading.Lock = self._fitting.setdefault(form, threading.Lock())
            return lock

    def _same(self, instruction: str) -> Known | None:
        """The transform of an instruction that means the same, where that is wanted."""
        guide = self.guide_for(instruction)
        if self._matcher is None or guide is None:
            return None
        info = self.collection.info()
        with self._lock:
            in_memory = [one.transform for one in self._known.values()]
        known = {one.instruction: one for one in in_memory if one.guide == guide.key}
        stored = self.store.summaries() if self.store else []
        fitting = [one for one in stored if one.guide == guide.key and one.collection == info]
        newest = sorted(fitting, key=lambda one: one.created, reverse=True)
        others = dict.fromkeys([*known, *(one.instruction for one in newest)])
        found = self._matcher.match(instruction, list(others))
        if found is None:
            return None
        serving = known.get(found)
        if serving is None and (other := self.find(found, info)):
            serving = other.transform
        return None if serving is None else self.remember(instruction, serving, info)

    def _fit(self, instructions: Sequence[str], *, afresh: bool = False) -> list[Known]:
        """Fit, store and remember; in the order of the instructions."""
        fitted: dict[str, Known] = {}
        by_guide: dict[str, tuple[Guide, list[str]]] = {}
        for text in instructions:
            guide = self._guide_or_fail(text)
            by_guide.setdefault(guide.key, (guide, []))[1].append(text)
        for guide, texts in by_guide.values():
            progress = Progress(texts, self.on_fit)
            try:
                with unchanged(self.collection) as info:
                    taught = self._taught(guide, texts, afresh, progress)
                    measured = [self._measured(one) for one in taught]
            except Exception:
                progress.ended(well=False)
                raise
            for text, one in zip(texts, measured, strict=True):
                if not (one.report.used or self.force):
                    warn(f"Instruction {one.instruction!r}: {one.report}", TransformWarning)
                self._store(one)
                fitted[text] = self.remember(text, one, info)
                progress.of(one.instruction).ended(well=True)
        return [fitted[text] for text in instructions]

    def _measured(self, transform: InstructionTransform) -> InstructionTransform:
        """The transform with its report on judged questions, where there are some for it."""
        fitting = self.questions.under(transform.instruction) if self.questions else []
        if self.questions is None or not fitting:
            return transform
        found = measure_transform(self.collection, transform, fitting, self.questions.vectors)
        return replace(transform, report=replace(transform.report, questions=found))

    def _store(self, fitted: InstructionTransform) -> None:
        """Store it; where that fails it serves from memory, rather than to be fitted each time."""
        try:
            if self.store is not None:
                self.store.put(fitted)
        except OSError as exc:
            _log.warning("A transform is not kept for the next process: %s", exc)

    def _taught(
        self, guide: Guide, instructions: Sequence[str], afresh: bool, progress: Progress
    ) -> list[InstructionTransform]:
        """What a guide teaches; judgements correct what their start has taught before."""
        if not isinstance(guide, JudgementGuide) or guide.start is None:
            return fit_all(self.collection, guide, instructions, self.fit_config, progress)
        judged = sample_rows(self.collection, MAX_PAIRS, seed=self.fit_config.seed, ids=guide.ids())
        starts = [self._start(guide.start, text, afresh, progress) for text in instructions]
        return [
            refine(one, guide.judge(one.instruction, judged), guide=guide.key) for one in starts
        ]

    def _start(
        self, guide: Guide, instruction: str, afresh: bool, progress: Progress
    ) -> InstructionTransform:
        """The transform to correct: stored, or fitted now and stored, so that it is fitted once."""
        own = chosen_guide(guide, instruction)
        known = None if afresh else self._read(instruction, own, self.collection.info())
        if known is None:
            [known] = self._taught(own, [instruction], afresh, progress.of(instruction))
            self._store(known)
        return known

    def _guide_or_fail(self, instruction: str) -> Guide:
        guide = self.guide_for(instruction)
        if guide is None:
            summaries = self.store.summaries() if self.store else []
            damaged = sum(summary.problem is not None for summary in summaries)
            also = f" ({damaged} stored ones cannot be read)" if damaged else ""
            raise GuideError(
                f"There is no stored transform for {instruction!r}{also} and no guide to fit one. "
                'Pass a guide: EncoderGuide() needs no labels, MetadataGuide("key") takes those of '
                "the metadata."
            )
        return guide

    def _stored(self, instruction: str, info: CollectionInfo) -> InstructionTransform | None:
        if self.store is None:
            return None
        guide = self.guide_for(instruction)
        if guide is not None:
            return self._read(instruction, guide, info)
        return self._newest_stored(self.store, instruction, info)

    def _read(
        self, instruction: str, guide: Guide, info: CollectionInfo
    ) -> InstructionTransform | None:
        try:
            return None if self.store is None else self.store.find(instruction, guide.key, info)
        except ArtefactError as exc:
            _log.warning("A stored transform cannot be used and is fitted again: %s", exc)
            return None

    def _newest_stored(
        self, store: TransformStore, instruction: str, info: CollectionInfo
    ) -> InstructionTransform | None:
        """Without a guide the newest stored transform of the instruction serves."""
        wanted = normal_form(instruction)
        stored = [
            summary
            for summary in store.summaries()
            if summary.problem is None and normal_form(summary.instruction) == wanted
        ]
        fitting = [summary for summary in stored if summary.collection == info]
        if stored and not fitting:
            raise TransformMismatchError(
                f"The stored transforms of {instruction!r} belong to {stored[0].collection}, not "
                f"to {info}. A transform fits only the vectors it learned from. Pass a guide to "
                "fit one for this collection."
            )
        if not fitting:
            return None
        return store.get(max(fitting, key=lambda summary: summary.created).key)


def _check_collection(collection: object) -> None:
    """Refuse what is no collection of vectors, such as the store of a host."""
    missing = missing_of_collection(collection)
    if missing or isinstance(collection, type):
        raise ConfigError(
            f"collection={collection!r} is not a collection of vectors"
            f"{f': it has no {missing}' if missing else ': it is a class'}. Wrap what "
            "holds the vectors: InstructRetriever(collection_behind(store), ...)."
        )


def _check_guide(guide: object) -> None:
    if isinstance(guide, type):
        raise ConfigError(
            f"guide={guide.__name__} is a class, and a guide is wanted. Make one of it: "
            f"guide={guide.__name__}(...)."
        )
    if guide is not None and not (hasattr(guide, "judge") and hasattr(guide, "key")):
        raise ConfigError(
            f"guide={guide!r} is not a guide: it has no judge() or no key. "
            'Pass for example MetadataGuide("language") or LabelGuide({id: label}).'
        )


def _open_store(store: object) -> TransformStore | None:
    if store is None or isinstance(store, TransformStore):
        return store
    if isinstance(store, str | Path):
        return TransformStore(store)
    raise ConfigError(
        f"store={store!r} is neither a folder nor a TransformStore. Name the folder in which "
        'transforms are kept: store="transforms".'
    )
