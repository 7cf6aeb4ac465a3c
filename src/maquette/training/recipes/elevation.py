"""Recipe: the elevation regressor over the pocket encoder's features, from views whose elevation is known.

IM-3D averages the features of four generated frames. The pocket prior is told the elevation before it generates, so one
picture must do; its azimuth is any of the 16.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from maquette.data.sets import COMPOSED, read_store
from maquette.models.elevation import ElevationRegressor, picture_features
from maquette.priors.encoders import load_encoder


@dataclass(frozen=True)
class Config:
    """Options of `maquette train elevation`."""

    views: Path = Path("runs/views")
    """Store written by `maquette train views`."""
    encoder: Path = Path("runs/encoder/model")
    """Encoder that guides."""
    out: Path = Path("runs/elevation")
    """The model is saved in its `model` folder."""
    pictures: int = 16000
    """Views to learn from."""
    steps: int = 3000
    """Optimiser steps over batches of 256."""
    seed: int = 0
    """Seed of the choice of views and of the weights."""


def main(config: Config) -> None:
    """Train on nine tenths of the objects and print the error in degrees on the others."""
    torch.manual_seed(config.seed)
    views, rows = read_store(config.views)
    towers = load_encoder(config.encoder).towers
    draw = np.random.default_rng(config.seed)
    usable = [i for i, row in enumerate(rows) if row.kind != COMPOSED]
    chosen = draw.choice(usable, config.pictures)
    keys = sorted({rows[i].key for i in usable})
    held_out = set(draw.permutation(keys)[: len(keys) // 10].tolist())
    features = []
    with torch.no_grad():
        for first in range(0, len(chosen), 64):
            block = np.stack([views[i, draw.integers(16), ..., :3] for i in chosen[first : first + 64]])
            pixels = (torch.from_numpy(block).movedim(-1, 1).float() / 127.5 - 1).to(towers.vision.dtype)
            features.append(picture_features(towers, pixels.contiguous(memory_format=torch.channels_last)))
    x = torch.cat(features)
    y = torch.tensor([rows[i].elevation_deg for i in chosen]).deg2rad().float()
    test = torch.tensor([rows[i].key in held_out for i in chosen])
    model = ElevationRegressor(features=x.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    train = (~test).nonzero()[:, 0]
    for _ in range(config.steps):
        batch = train[torch.randint(len(train), (256,))]
        loss = torch.nn.functional.smooth_l1_loss(model(x[batch]), y[batch], beta=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    model.eval()
    with torch.no_grad():
        error = (model(x[test]) - y[test]).abs().rad2deg()
    print(
        f"mean error {error.mean():.2f} degrees on {int(test.sum())} views of {len(held_out)} unseen objects",
        flush=True,
    )
    model.half().save_pretrained(config.out / "model")
