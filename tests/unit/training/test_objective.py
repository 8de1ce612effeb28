from typing import Any

import pytest
import torch
from torch import Tensor

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.losses import (
    info_nce,
    iterative_refinement,
    supervised_contrastive,
)
from instruct_embeddings.training.objective import Objective, Targets
from instruct_embeddings.training.settings import LossConfig
from instruct_embeddings.training.tables import build

# Four rows with three answers, and a fifth candidate that answers like none of them.
ANSWERS = torch.tensor([0, 1, 0, 2])
CANDIDATE_ANSWERS = torch.tensor([0, 1, 0, 2, 3])
TEMPERATURE = 0.1


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outputs(width: int = 6, steps: int = 1) -> dict[str, Tensor]:
    shapes = {
        "pooled": (steps, 4, width),
        "primary": (4, width),
        "soft": (4, width),
        "generic": (4, width),
        "again_pooled": (steps, 4, width),
        "again_primary": (4, width),
        "again_soft": (4, width),
    }
    made = {n: numbers(*shape, seed=i) for i, (n, shape) in enumerate(shapes.items())}
    return {name: value.requires_grad_() for name, value in made.items()}


def targets(width: int = 6) -> Targets:
    return Targets(
        answers=ANSWERS,
        candidates=numbers(5, width, seed=20),
        candidate_answers=CANDIDATE_ANSWERS,
        answer_states=numbers(4, width, seed=21),
        whole=numbers(4, width, seed=22),
        generic=numbers(4, 6, seed=23),
    )


def objective(width: int = 6, **table: Any) -> Objective:
    config = build(LossConfig, {"temperature": TEMPERATURE} | table, "loss")
    return Objective(config, pooled=6, hidden=6, teacher=width)


def parts(given: dict[str, Tensor] | None = None, **table: Any) -> dict[str, Tensor]:
    return objective(**table)(given or outputs(), targets())  # type: ignore[no-any-return]


def nce(z: Tensor, candidates: Tensor, **more: Any) -> Tensor:
    excluded = ANSWERS[:, None] == CANDIDATE_ANSWERS[: len(candidates)]
    excluded |= more.pop("excluded", torch.zeros_like(excluded))
    own = torch.arange(4)
    return info_nce(z, candidates, own, temperature=TEMPERATURE, excluded=excluded, **more)


def test_the_answer_view_is_info_nce_against_answers() -> None:
    given, known = outputs(), targets()
    found = parts(given)
    assert found.keys() == {"contrastive"}
    torch.testing.assert_close(found["contrastive"], nce(given["pooled"][0], known.candidates))


def test_views_have_candidates_of_their_own_and_are_averaged() -> None:
    given, known = outputs(), targets()
    z = given["pooled"][0]
    losses = {
        "answer": nce(z, known.candidates),
        "dropout": nce(z, given["again_pooled"][0]),
        "teacher": nce(z, known.whole),
    }
    for view, loss in losses.items():
        torch.testing.assert_close(parts(given, views=[view])["contrastive"], loss)
    expected = torch.stack(list(losses.values())).mean()
    torch.testing.assert_close(parts(given, views=list(losses))["contrastive"], expected)


@pytest.mark.parametrize("view", ["answer", "dropout"])
def test_both_anchors_learn_apart(view: str) -> None:
    given, known = outputs(), targets()
    other = {
        n: known.candidates if view == "answer" else given[f"again_{n}"]
        for n in given
        if n in ("primary", "soft")
    }
    expected = torch.stack([nce(given[name], other[name]) for name in other]).mean()
    found = parts(given, views=[view], anchors="both")["contrastive"]
    torch.testing.assert_close(found, expected)
    found.backward()
    assert given["pooled"].grad is None
    assert all(given[name].grad is not None for name in other)


def test_refinement_pays_for_steps_that_get_worse() -> None:
    given, known = outputs(steps=3), targets()
    losses = torch.stack([nce(z, known.candidates) for z in given["pooled"]])
    for table, weight in (({}, 1.0), ({"refinement": {"weight": 0.25}}, 0.25)):
        expected = iterative_refinement(losses, weight=weight)
        torch.testing.assert_close(parts(given, **table)["contrastive"], expected)


def test_supervised_pulls_rows_of_one_answer_together() -> None:
    given = outputs()
    found = parts(given, views=[], supervised=0.5)
    loss = supervised_contrastive(given["pooled"][0], ANSWERS, temperature=TEMPERATURE)
    assert found.keys() == {"supervised"}
    torch.testing.assert_close(found["supervised"], 0.5 * loss)


@pytest.mark.parametrize("kind", ["cosine", "smooth_l1"])
@pytest.mark.parametrize("target", ["answer_states", "answer_embedding"])
def test_distillation_pulls_soft_prompts_to_its_target(kind: str, target: str) -> None:
    given, known = outputs(), targets()
    table = {"weight": 2.0, "kind": kind, "target": target}
    found = parts(given, views=[], distillation=table)["distillation"]
    wanted = known.answer_states if target == "answer_states" else known.candidates[:4]
    if kind == "cosine":
        loss = 1 - torch.cosine_similarity(given["soft"], wanted).mean()
    else:
        loss = torch.nn.functional.smooth_l1_loss(given["soft"], wanted)
    torch.testing.assert_close(found, 2 * loss)
    found.backward()
    assert [name for name, value in given.items() if value.grad is not None] == ["soft"]


def test_without_soft_prompts_the_embedding_is_pulled() -> None:
    given = {"pooled": outputs()["pooled"]}
    parts(given, views=[], distillation={})["distillation"].backward()
    assert given["pooled"].grad is not None


def test_gist_spares_candidates_that_the_guide_finds_nearer() -> None:
    given, known = outputs(), targets()
    scores = torch.cosine_similarity(known.whole[:, None], known.candidates[None], dim=2)
    nearer = scores > scores.diagonal()[:, None]
    assert nearer.any()
    z = given["pooled"][0]
    found = parts(given, gist={})["contrastive"]
    torch.testing.assert_close(found, nce(z, known.candidates, excluded=nearer))
    # A row stands for its answer in other views.
    found = parts(given, gist={}, views=["dropout"])["contrastive"]
    torch.testing.assert_close(found, nce(z, given["again_pooled"][0], excluded=nearer[:, :4]))
    # With this margin nothing is a negative any more.
    assert parts(given, gist={"margin": 3.0})["contrastive"] == 0


@pytest.mark.parametrize("anchors", ["pooled", "both"])
def test_matryoshka_learns_shorter_embeddings(anchors: str) -> None:
    given, known = outputs(), targets()
    found = parts(given, anchors=anchors, matryoshka={"dimensions": [6, 2], "weights": [3, 1]})
    names = ("primary", "soft") if anchors == "both" else ("pooled",)
    losses = []
    for name in names:
        z = given[name].reshape(4, 6)
        short = nce(z[:, :2], known.candidates[:, :2])
        losses.append(0.75 * nce(z, known.candidates) + 0.25 * short)
    torch.testing.assert_close(found["contrastive"], torch.stack(losses).mean())


def test_matryoshka_holds_for_the_supervised_loss_too() -> None:
    given = outputs()
    found = parts(given, views=[], supervised=1.0, matryoshka={"dimensions": [2]})["supervised"]
    z = given["pooled"][0, :, :2]
    expected = supervised_contrastive(z, ANSWERS, temperature=TEMPERATURE)
    torch.testing.assert_close(found, expected)


def test_drift_is_the_distance_from_the_start() -> None:
    given, known = outputs(), targets()
    found = parts(given, drift={"weight": 3.0})["drift"]
    torch.testing.assert_close(
        found, 3 * (1 - torch.cosine_similarity(given["generic"], known.generic).mean())
    )
    found.backward()
    assert given["generic"].grad is not None


def test_embeddings_are_carried_over_to_a_teacher_of_another_width() -> None:
    given, known = outputs(), targets(width=9)
    made = objective(9, views=["answer", "teacher", "dropout"], distillation={})
    found = made(given, known)
    assert made.project_pooled is not None
    assert made.project_hidden is not None
    z = given["pooled"][0]
    carried = made.project_pooled(z)
    views = [nce(carried, known.candidates), nce(carried, known.whole)]
    views.append(nce(z, given["again_pooled"][0]))
    torch.testing.assert_close(found["contrastive"], torch.stack(views).mean())
    sum(found.values()).backward()
    assert all(value.grad is not None for value in made.parameters())


def test_a_shortened_embedding_is_carried_by_its_share_of_the_layer() -> None:
    given, known = outputs(), targets(width=9)
    made = objective(9, matryoshka={"dimensions": [2]})
    assert made.project_pooled is not None
    carried = given["pooled"][0, :, :2] @ made.project_pooled.weight[:, :2].T
    found = made(given, known)["contrastive"]
    torch.testing.assert_close(found, nce(carried, known.candidates))


def test_nothing_is_carried_where_widths_agree() -> None:
    assert not list(objective(6).parameters())


def test_lengths_that_an_embedding_does_not_have_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"dimensions=\[8\], and an embedding has 6"):
        objective(matryoshka={"dimensions": [8]})
