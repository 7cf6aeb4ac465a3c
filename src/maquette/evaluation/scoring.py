"""Scores of pictures of objects that were made from prompts: retrieval and similarity, by any encoder.

This module does not know who made the pictures. An object that could not be made counts as a miss everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.data.captions import article
from maquette.evaluation.report import spread
from maquette.evaluation.text import mean_view, ranks, similarity
from maquette.priors.protocol import Encoder

Views = Float[Tensor, "views height width 3"]


@dataclass(frozen=True)
class Item:
    """One prompt of a list."""

    prompt: str
    category: str | None = None
    """The thing without its color and other words; retrieved among the categories of the whole list."""
    color: str | None = None
    kind: str | None = None
    """Any label; precision is also reported for each."""


@dataclass(frozen=True)
class Scores:
    """What one encoder says about the objects of a list."""

    summary: dict
    """Plain values for a report."""
    items: list[dict | None] = field(default_factory=list)
    """For each object its rank (0 is a hit), the best prompt and the similarities; None where there is no object."""


@torch.no_grad()
def score(
    items: Sequence[Item],
    views: Sequence[Views | None],
    encoder: Encoder,
    *,
    references: Sequence[Float[Tensor, "reference_height reference_width 3"] | None] | None = None,
) -> Scores:
    """Retrieve every prompt among all prompts of the list, from each view alone and from the mean of an object's views.

    Text similarity is averaged over the views of an object, then over objects; image similarity likewise, against the
    object's reference picture. All objects need the same number of views.
    """
    there = [i for i, one in enumerate(views) if one is not None]
    if not there:
        return Scores({"objects": len(items), "made": 0}, [None] * len(items))
    seen = torch.stack([encoder.embed_image(views[i]) for i in there])  # (objects, views, width)
    prompts = [item.prompt for item in items]
    truth = [prompts[i] for i in there]
    words = encoder.embed_text(prompts)
    retrieval = _Retrieval.of(seen, words, prompts, truth)
    text_similarity = similarity(seen, words[there][:, None].expand_as(seen)).mean(dim=1)
    image_similarity = _to_references(seen, [references[i] for i in there] if references else None, encoder)
    favourites = (mean_view(seen) @ words.T).argmax(dim=1).tolist()

    summary = {
        "objects": len(items),
        "made": len(there),
        "r_precision": retrieval.precision(len(items)),
        "r_precision_top5": retrieval.precision(len(items), top=5),
        "by_kind": {
            kind: retrieval.select([j for j, i in enumerate(there) if items[i].kind == kind]).precision(
                sum(item.kind == kind for item in items)
            )
            for kind in dict.fromkeys(item.kind for item in items if item.kind)
        },
        "by_category": _category_precision(items, there, seen, encoder),
        "text_similarity": spread(text_similarity.tolist()),
        "image_similarity": spread([value for value in image_similarity if value is not None]),
    }
    rows: list[dict | None] = [None] * len(items)
    for j, i in enumerate(there):
        rows[i] = {
            "rank": retrieval.object_rank[j].item(),
            "views_hit": int((retrieval.view_rank[j] == 0).sum()),
            "best": prompts[favourites[j]],
            "text_similarity": text_similarity[j].item(),
            "image_similarity": image_similarity[j],
        }
    return Scores(summary, rows)


@dataclass(frozen=True)
class _Retrieval:
    """How many texts come before the true one."""

    view_rank: Int[Tensor, "objects views"]
    object_rank: Int[Tensor, " objects"]

    @staticmethod
    def of(seen: Tensor, words: Tensor, texts: list[str], truth: list[str]) -> "_Retrieval":
        num_views = seen.shape[1]
        each = ranks(seen.flatten(0, 1), words, texts, [text for text in truth for _ in range(num_views)])
        return _Retrieval(each.view(-1, num_views), ranks(mean_view(seen), words, texts, truth))

    def select(self, rows: list[int]) -> "_Retrieval":
        return _Retrieval(self.view_rank[rows], self.object_rank[rows])

    def precision(self, wanted: int, top: int = 1) -> dict[str, float]:
        """Fractions over all `wanted` objects, also those that do not exist."""
        num_views = self.view_rank.shape[1]
        return {
            "view": (self.view_rank < top).sum().item() / (wanted * num_views),
            "object": (self.object_rank < top).sum().item() / wanted,
        }


def _category_precision(
    items: Sequence[Item], there: list[int], seen: Float[Tensor, "objects views width"], encoder: Encoder
) -> dict[str, float] | None:
    """Retrieval of the bare category ("a stool") among those of the list: is it the right thing, whatever its color?"""
    texts = list(dict.fromkeys(article(item.category) for item in items if item.category))
    rows = [j for j, i in enumerate(there) if items[i].category]
    if not rows:
        return None
    truth = [article(items[there[j]].category) for j in rows]
    retrieval = _Retrieval.of(seen[rows], encoder.embed_text(texts), texts, truth)
    return retrieval.precision(sum(item.category is not None for item in items))


def _to_references(
    seen: Float[Tensor, "objects views width"], references: list[Tensor | None] | None, encoder: Encoder
) -> list[float | None]:
    if references is None:
        return [None] * len(seen)
    return [
        None if picture is None else similarity(one, encoder.embed_image(picture[None]).expand_as(one)).mean().item()
        for one, picture in zip(seen, references, strict=True)
    ]
