"""Retrieval on hand-made vectors."""

import pytest
import torch

from maquette.core.errors import NonFinite
from maquette.evaluation.text import mean_view, precision, ranks, similarity

TEXTS = ["one", "two", "three", "four"]


def test_identity_is_perfect_and_so_are_ties():
    eye = torch.eye(4)
    assert precision(ranks(eye, eye, TEXTS, TEXTS)) == 1.0
    constant = torch.ones(4, 3)
    assert precision(ranks(constant, constant, TEXTS, TEXTS)) == 1.0, "the strict rule"


def test_rank_is_the_number_of_better_texts():
    candidates = torch.eye(4)
    query = torch.tensor([[0.1, 0.4, 0.3, 0.2]])
    for text, rank in zip(TEXTS, (3, 0, 1, 2), strict=True):
        assert ranks(query, candidates, TEXTS, [text]).item() == rank
    all_ranks = ranks(query.expand(4, -1), candidates, TEXTS, TEXTS)
    assert [precision(all_ranks, top) for top in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1.0]


def test_length_of_vectors_does_not_matter():
    draw = torch.Generator().manual_seed(0)
    queries, candidates = torch.randn(9, 5, generator=draw), torch.randn(4, 5, generator=draw)
    truth = [TEXTS[i % 4] for i in range(9)]
    scale = torch.rand(9, 1, generator=draw) + 0.1
    assert torch.equal(ranks(queries, candidates, TEXTS, truth), ranks(scale * queries, 7 * candidates, TEXTS, truth))


def test_the_same_caption_twice_is_one_caption():
    texts = ["cup", "red cup", "cup", "red cup"]
    vectors = torch.tensor([[1.0, 0.0], [0.6, 0.8], [1.0, 0.0], [0.6, 0.8]])
    assert ranks(vectors, vectors, texts, texts).tolist() == [0, 0, 0, 0]
    # Seen as a cup: both captions "cup" come before "red cup", but they are one text.
    assert ranks(torch.tensor([[1.0, 0.0]]), vectors, texts, ["red cup"]).item() == 1


def test_nan_is_an_error_and_not_a_hit():
    queries = torch.eye(4)
    queries[2, 1] = torch.nan
    with pytest.raises(NonFinite):
        ranks(queries, torch.eye(4), TEXTS, TEXTS)


def test_mean_view_weighs_views_alike():
    views = torch.tensor([[[100.0, 0.0], [0.0, 0.01]]])
    assert torch.allclose(mean_view(views), torch.full((1, 2), 0.5**0.5))


def test_similarity_is_the_cosine():
    a = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    b = torch.tensor([[5.0, 0.0], [4.0, 3.0]])
    assert torch.allclose(similarity(a, b), torch.tensor([1.0, 24 / 25]))
