"""Recipe: encode a store of views once, so that the denoiser trains on latents at full speed."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from maquette.data.sets import read_store
from maquette.models.autoencoder import PocketAutoencoder
from maquette.training.recipes.autoencoder import to_network


@dataclass(frozen=True)
class Config:
    """Options of `maquette train latents`."""

    views: Path = Path("runs/views")
    """Store written by `maquette train views`."""
    autoencoder: Path = Path("runs/autoencoder/model")
    """Model saved by `maquette train autoencoder`."""
    device: str = "cpu"
    """cpu or cuda."""


@torch.no_grad()
def main(config: Config) -> None:
    """Write `latents.npy` (sets, 16, c, h, w) float16 beside the views."""
    views, rows = read_store(config.views)
    model = PocketAutoencoder.from_pretrained(config.autoencoder, low_cpu_mem_usage=False).to(config.device).eval()
    model.to(memory_format=torch.channels_last)
    patch = model.config.patch
    shape = (len(rows), views.shape[1], model.config.latent_channels, views.shape[2] // patch, views.shape[3] // patch)
    path, start, chunk = config.views / "latents.npy", time.perf_counter(), 16
    latents = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for first in range(0, len(rows), chunk):
        block = to_network(views[first : first + chunk]).flatten(0, 1).to(config.device)
        with torch.autocast(config.device.split(":")[0], torch.bfloat16):
            z = model.encode(block.contiguous(memory_format=torch.channels_last))
        latents[first : first + chunk] = z.half().cpu().numpy().reshape(-1, *shape[1:])
        if first % (100 * chunk) == 0:
            print(f"{first} / {len(rows)} sets, {time.perf_counter() - start:.0f} s", flush=True)
    latents.flush()
