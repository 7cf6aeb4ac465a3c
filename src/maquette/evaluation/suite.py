"""How far a set of made assets is from a set of real ones: one row of table 1 of GaussianAnything (arXiv 2411.08033).

This module does not know who made the assets, nor what the networks are: both are given. Real against other real
assets is the bound that such a row is read against.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.core.seed import Streams
from maquette.evaluation.coverage import chamfer_matrix, coverage, matching
from maquette.evaluation.features import Features, Network, extract
from maquette.evaluation.frechet import frechet_distance
from maquette.evaluation.kernel_distance import kernel_distance

SUBSET = 100  # of KID: the usual 1000 are more than a held-out set of ours has


@dataclass(frozen=True)
class Assets:
    """Assets as everything here sees them: renders, and points on their surfaces in the box of the world.

    Views are sRGB on white; every object has the same cameras in both sets that are compared. Raises BadInput unless
    there are as many sets of views as clouds.
    """

    views: Float[Tensor, "objects views height width 3"]
    points: Float[Tensor, "clouds points 3"]

    def __post_init__(self) -> None:
        if len(self.views) != len(self.points):
            raise BadInput(
                f"there are views of {len(self.views)} objects and points of {len(self.points)}; expected both of each",
                "leave out what could not be made from both",
            )

    def __len__(self) -> int:
        return len(self.views)


@dataclass(frozen=True)
class Seen:
    """A set of assets after the networks have looked: what is compared, once for any number of comparisons."""

    pictures: Features
    shapes: Features
    points: Float[Tensor, "objects points 3"]


def look_at(assets: Assets, picture_network: Network, point_network: Network) -> Seen:
    """Features of all views of all objects, each a sample of its own, and of all clouds."""
    return Seen(
        extract(picture_network, assets.views.flatten(0, 1)), extract(point_network, assets.points), assets.points
    )


def distances(made: Seen, real: Seen, *, seed: int = 0) -> dict:
    """FID, KID, P-FID, P-KID, coverage and minimum matching distance of `made` to `real`, as plain values.

    KIDs have a mean and a deviation and are not multiplied by 100, coverage is a fraction, and the matching distance is
    in world units (objects are about 1 long). Names of networks and numbers of samples are part of the row, and
    `singular` says of which Fréchet distance there are too few samples for its features.
    """
    streams, row, singular = Streams(seed), {}, []
    for letter, what, reference in (("", made.pictures, real.pictures), ("p_", made.shapes, real.shapes)):
        frechet = frechet_distance(what, reference)
        kernel = kernel_distance(what, reference, streams.generator(f"{letter}kid"), subset_size=SUBSET)
        row |= {f"{letter}fid": frechet.value, f"{letter}kid": {"mean": kernel.mean, "deviation": kernel.deviation}}
        singular += [f"{letter}fid"] if frechet.is_singular else []
    table = chamfer_matrix(made.points, real.points)
    row |= {"coverage": coverage(table), "mmd": matching(table)}
    return row | {
        "objects": [len(made.points), len(real.points)],
        "pictures": [len(made.pictures), len(real.pictures)],
        "points": [made.points.shape[1], real.points.shape[1]],
        "picture_network": made.pictures.network,
        "point_network": made.shapes.network,
        "subset_size": {"kid": min(SUBSET, len(made.pictures), len(real.pictures)),
                        "p_kid": min(SUBSET, len(made.points), len(real.points))},
        "singular": singular,
    }  # fmt: skip
