"""The losses of the instant query, on numbers that can be checked by hand."""

from math import exp, log

import torch

from instruct_embeddings.training.instant import network as loss

QUERIES = torch.tensor([[1.0, 0.0]])
DOCUMENTS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
ALL = torch.ones(1, 3, dtype=torch.bool)


def test_a_folded_query_is_a_unit_row() -> None:
    found = loss.folded(QUERIES, torch.tensor([[2.0, 4.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8]]))


def test_logits_are_cosines_by_the_temperature_of_what_is_allowed() -> None:
    allowed = torch.tensor([[True, True, False]])
    found = loss.logits(QUERIES, DOCUMENTS, allowed, 0.5)
    assert found[0, :2].tolist() == [2.0, 0.0]
    assert found.softmax(1)[0, 2] == 0


def test_one_relevant_document_in_front_is_enough_for_any_and_not_for_all() -> None:
    scores = loss.logits(QUERIES, DOCUMENTS, ALL, 0.5)
    relevant = torch.tensor([[True, False, True]])
    every = exp(2) + exp(0) + exp(-2)
    any_relevant = -log((exp(2) + exp(-2)) / every)
    all_relevant = -(log(exp(2) / every) + log(exp(-2) / every)) / 2
    torch.testing.assert_close(loss.any_relevant(scores, relevant), torch.tensor([any_relevant]))
    torch.testing.assert_close(loss.all_relevant(scores, relevant), torch.tensor([all_relevant]))
    assert any_relevant < 0.2 < all_relevant


def test_what_ranks_as_before_costs_nothing() -> None:
    generic = loss.logits(QUERIES, DOCUMENTS, ALL, 0.5)
    assert loss.kept(generic, generic).tolist() == [0.0]
    moved = loss.logits(loss.folded(QUERIES, torch.tensor([[0.0, 1.0]])), DOCUMENTS, ALL, 0.5)
    assert loss.kept(moved, generic).item() > 0.1


def test_a_move_to_the_name_of_its_label_costs_little() -> None:
    words = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    moves = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    # What the names share is taken out: they lie at (1, -1) and (-1, 1), by the root of two.
    right = loss.named(moves, words, torch.tensor([0, 1]), 1.0)
    torch.testing.assert_close(right, torch.full((2,), log(1 + exp(-2))))
    wrong = loss.named(moves, words, torch.tensor([1, 0]), 1.0)
    torch.testing.assert_close(wrong, torch.full((2,), log(1 + exp(2))))
