"""The elevation regressor of IM-3D (arXiv 2402.08682, section 3.1): a two-layer network over the features of a
picture."""

import math

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor, nn

HIGHEST = math.pi / 4  # IM-3D's orbits


class ElevationRegressor(ModelMixin, ConfigMixin):
    """Features of one picture -> elevation in radians, in [0, pi/4]."""

    @register_to_config
    def __init__(self, features: int = 4608, hidden: int = 256):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(features, affine=False), nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, 1)
        )

    def forward(self, features: Float[Tensor, "n features"]) -> Float[Tensor, " n"]:
        return torch.sigmoid(self.layers(features)[:, 0]) * HIGHEST


def picture_features(towers: nn.Module, pixels: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n features"]:
    """What the regressor reads: the two stages before the last, averaged over a 4 x 4 grid.

    The embedding itself is of no use: it was taught to be the same from everywhere.
    """
    stages = towers.vision(pixel_values=pixels, output_hidden_states=True).hidden_states[-3:-1]
    return torch.cat([nn.functional.adaptive_avg_pool2d(stage.float(), 4).flatten(1) for stage in stages], dim=1)
