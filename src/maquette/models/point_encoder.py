"""A small PointNet++ (Qi et al., arXiv 1706.02413) that names the category of a cloud of surface points.

The features of its last hidden layer are what P-FID and P-KID are measured in (Point-E, arXiv 2212.08751, section 5.1;
there a wider one for 40 classes). It sees positions only: no normals, no colors, not the size or place of the cloud.
"""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float, Int
from torch import Tensor, nn


class PointEncoder(ModelMixin, ConfigMixin):
    """Clouds of points -> logits of `categories`; the order of the points has no say.

    Two levels of centres, each described by its nearest neighbours, then the whole cloud. Neighbours are the nearest
    few and not those inside a ball as in the paper, so that thin things with dense points need no other radius.
    """

    @register_to_config
    def __init__(
        self,
        categories: list[str],
        centres: tuple[int, int] | list[int] = (128, 32),
        neighbours: int = 16,
        widths: tuple[int, int, int] | list[int] = (64, 128, 512),
        features: int = 128,
    ):
        super().__init__()
        small, middle, large = widths
        self.near = nn.ModuleList(_layers(3, small // 2, small))
        self.wide = nn.ModuleList(_layers(3 + small, middle, middle))
        self.whole = nn.ModuleList(_layers(3 + middle, 2 * middle, large))
        self.hidden = _Layer(large, large // 2)
        self.last = _Layer(large // 2, features)
        self.dropout = nn.Dropout(0.3)
        self.named = nn.Linear(features, len(categories))

    def embed(self, points: Float[Tensor, "clouds points 3"]) -> Float[Tensor, "clouds features"]:
        """The last hidden layer before its activation (which would cut half of each Gaussian away)."""
        points = unit_ball(points)
        first, second = self.config.centres
        few = farthest(points, first)
        described = self._gather(self.near, points, None, few)
        fewer = farthest(few, second)
        described = self._gather(self.wide, few, described, fewer)
        whole = _through(self.whole, torch.cat([fewer, described], dim=-1)).amax(dim=1)
        return self.last(self.dropout(torch.relu(self.hidden(whole)))).float()

    def forward(self, points: Float[Tensor, "clouds points 3"]) -> Float[Tensor, "clouds categories"]:
        return self.named(self.dropout(torch.relu(self.embed(points))))

    def _gather(self, layers: nn.ModuleList, points: Tensor, described: Tensor | None, centres: Tensor) -> Tensor:
        """What the neighbours of each centre say together: positions relative to it, and what is known of them."""
        index = nearest_few(points, centres, self.config.neighbours)
        around = _rows(points, index) - centres[:, :, None]
        if described is not None:
            around = torch.cat([around.to(described), _rows(described, index)], dim=-1)
        return _through(layers, around).amax(dim=2)


class _Layer(nn.Module):
    """A linear map and a batch norm over everything but the channels."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs)

    def forward(self, x: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows outputs"]:
        y = self.linear(x)
        return self.norm(y.flatten(0, -2)).view(y.shape)


def _layers(*widths: int) -> list[_Layer]:
    return [_Layer(widths[0], widths[1]), _Layer(widths[1], widths[2])]


def _through(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers:
        x = torch.relu(layer(x))
    return x


def unit_ball(points: Float[Tensor, "clouds points 3"]) -> Float[Tensor, "clouds points 3"]:
    """Every cloud moved to its centroid and divided by its largest distance from it, as Point-E normalises."""
    centred = points - points.mean(dim=1, keepdim=True)
    return centred / centred.norm(dim=-1).amax(dim=1).clamp_min(1e-9)[:, None, None]


@torch.no_grad()
def farthest(points: Float[Tensor, "clouds points 3"], count: int) -> Float[Tensor, "clouds count 3"]:
    """Farthest-point samples of every cloud, for which the order of the points has no say.

    They start with the point farthest from the origin, and not with the first.
    """
    clouds = torch.arange(len(points), device=points.device)
    newest = points.square().sum(dim=-1).argmax(dim=1)
    nearest = points.new_full(points.shape[:2], torch.inf)
    taken = []
    for _ in range(count):
        taken.append(points[clouds, newest])
        nearest = torch.minimum(nearest, (points - taken[-1][:, None]).square().sum(dim=-1))
        newest = nearest.argmax(dim=1)
    return torch.stack(taken, dim=1)


@torch.no_grad()
def nearest_few(
    points: Float[Tensor, "clouds points 3"], centres: Float[Tensor, "clouds centres 3"], count: int
) -> Int[Tensor, "clouds centres count"]:
    """Which points are nearest to each centre, itself among them."""
    return torch.cdist(centres, points).topk(count, dim=-1, largest=False, sorted=False).indices


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """(clouds, points, width) at (clouds, centres, neighbours) -> (clouds, centres, neighbours, width)."""
    clouds = torch.arange(len(values), device=values.device)[:, None, None]
    return values[clouds, index]
