"""Do pictures show what the words say? Cosine similarity and retrieval over embeddings, whoever made them."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core.errors import NonFinite


def similarity(a: Float[Tensor, "*rows width"], b: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows"]:
    """Cosine of the angle between paired vectors, in [-1, 1] (the CLIP score; papers print it times 100)."""
    return F.cosine_similarity(a, b, dim=-1)


def mean_view(views: Float[Tensor, "objects views width"]) -> Float[Tensor, "objects width"]:
    """One unit vector for each object: the direction of the mean of its views' unit vectors."""
    return F.normalize(F.normalize(views, dim=-1).mean(dim=1), dim=-1)


def ranks(
    queries: Float[Tensor, "queries width"], candidates: Float[Tensor, "candidates width"], texts: list[str],
    truth: list[str],
) -> Int[Tensor, " queries"]:  # fmt: skip
    """How many candidate texts are more similar to each query than its true text; 0 is a hit.

    `texts` names the candidates and `truth` the right answer of each query, which must be among them. Candidates with
    the same text are one candidate, and only strictly larger similarities count: equal vectors all hit. Raises
    NonFinite for NaN, which would lose every comparison and so look like a hit.
    """
    distinct = list(dict.fromkeys(texts))
    columns = F.normalize(candidates[[texts.index(text) for text in distinct]], dim=-1)
    scores = F.normalize(queries, dim=-1) @ columns.T
    if not torch.isfinite(scores).all():
        raise NonFinite("embeddings hold NaN or infinity", "look at the pictures that were embedded")
    right = torch.tensor([distinct.index(text) for text in truth], device=scores.device)
    return (scores > scores.gather(1, right[:, None])).sum(dim=1)


def precision(rank: Int[Tensor, " queries"], top: int = 1) -> float:
    """The fraction of queries whose true text is among the first `top` (R-Precision for 1; Park et al. 2021)."""
    return (rank < top).double().mean().item()
