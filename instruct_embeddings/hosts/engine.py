"""The engine of a host's retriever: a new one, or one that is shared."""

from collections.abc import Callable, Mapping
from typing import Any

from instruct_embeddings.errors import CollectionMismatchError, ConfigError
from instruct_embeddings.feedback import EncoderJudge
from instruct_embeddings.guides import EncoderGuide
from instruct_embeddings.instant import InstantQuery
from instruct_embeddings.protocols import InstantMover, VectorCollection
from instruct_embeddings.retrieval import InstructRetriever, Questions, RelevanceFeedback, Reuse
from instruct_embeddings.retrieval.questions import Embed

# What tells the settings of two engines apart, where it is not their equality.
_IDENTITIES: dict[str, Callable[[Any], object]] = {
    "guide": lambda guide: guide.key,
    "instant": lambda instant: instant.name,
    "store": lambda store: str(store.path),
    "questions": lambda asked: (id(asked.queries), id(asked.relevant), id(asked.instruction)),
}


def open_engine(
    collection: VectorCollection,
    embed: Embed,
    *,
    instant: InstantMover | bool | None = True,
    reuse: float | None = None,
    questions: Questions | None = None,
    feedback: RelevanceFeedback | bool | None = None,
    **settings: Any,
) -> InstructRetriever:
    """The engine of a retriever; nothing is read or fitted yet.

    Args:
        collection: What is searched.
        embed: Makes generic vectors of the texts of queries.
        instant: What answers under new instructions: True takes the one that comes with the
            package, None or False none.
        reuse: Least agreement at which the transform of another instruction serves.
        questions: Judged questions; their texts are embedded by `embed` unless they say how.
        feedback: A judge in the loop: True takes the encoder that comes with the package as
            judge, None or False none.
        settings: Other arguments of `InstructRetriever`: guide, store, fit, force, on_fit.

    Raises:
        ConfigError: An argument is something else.
    """
    return InstructRetriever(
        collection,
        instant=_instant_query(instant),
        reuse=None if reuse is None else Reuse(EncoderGuide(), reuse),
        questions=None if questions is None else questions.embedded_by(embed),
        feedback=RelevanceFeedback(EncoderJudge()) if feedback is True else feedback or None,
        **settings,
    )


def engine_settings(engine: InstructRetriever) -> dict[str, Any]:
    """The arguments of `open_engine` that give an engine of the same settings."""
    return {
        "guide": engine.guide,
        "instant": engine.instant,
        "store": engine.store,
        "fit": engine.fit_config,
        "force": engine.force,
        "reuse": None if engine.reuse is None else engine.reuse.threshold,
        "questions": engine.questions,
        "on_fit": engine.on_fit,
        "feedback": engine.feedback,
    }


def same_engine(one: InstructRetriever, other: InstructRetriever) -> bool:
    """Whether two engines answer alike, so that one serves for both.

    Guides count as the same when their keys are equal, instant queries when their names are, stores
    when their paths are. Collections of two types cannot be compared, and count as the same.
    """
    if _differ(one.collection, other.collection):
        return False
    mine, others = engine_settings(one), engine_settings(other)
    return all(_same_setting(name, value, others[name]) for name, value in mine.items())


def check_shared(
    engine: InstructRetriever, collection: VectorCollection, settings: Mapping[str, object]
) -> None:
    """Refuse an engine that was made for another collection, or settings beside an engine.

    Raises:
        ConfigError: A setting is given too.
        CollectionMismatchError: The collections differ.
    """
    given = [name for name, value in settings.items() if value is not None and value is not False]
    if given:
        raise ConfigError(
            f"Got engine= together with {', '.join(given)}. A shared engine has its own settings. "
            "Pass either the engine or the others."
        )
    if _differ(engine.collection, collection):
        raise CollectionMismatchError(
            f"The engine searches {engine.collection!r}, the vector store holds {collection!r}. "
            "An engine is shared within one collection. Leave out engine= to get one for this "
            "vector store."
        )


def _instant_query(instant: InstantMover | bool | None) -> InstantMover | None:
    if instant is None or instant is False:
        return None
    if instant is True:
        return InstantQuery.from_pretrained()
    if isinstance(instant, type) or not hasattr(instant, "for_collection"):
        raise ConfigError(
            f"instant={instant!r} is not an instant query. Pass True for the one that comes with "
            "the package, InstantQuery.from_pretrained(folder) for your own, or None for none."
        )
    return instant


def _differ(one: VectorCollection, other: VectorCollection) -> bool:
    """Whether two collections are not the same; of two types they cannot be compared."""
    return type(one) is type(other) and one != other


def _same_setting(name: str, one: Any, other: Any) -> bool:
    if one is other:  # first: the key of a guide with many labels takes time
        return True
    if one is None or other is None or name not in _IDENTITIES:
        return bool(one == other)
    return _IDENTITIES[name](one) == _IDENTITIES[name](other)
