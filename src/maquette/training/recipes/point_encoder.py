"""Recipe: the point encoder, which names the category of an asset from points on its surface.

It only measures: P-FID and P-KID are distances in its features. Objects are turned about the vertical axis and their
points moved a little, because most of them face nowhere in particular and made surfaces are rougher than real ones.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from maquette.core.errors import BadInput
from maquette.core.files import atomic_write
from maquette.data.shards import read_index, read_mesh
from maquette.models.point_encoder import PointEncoder
from maquette.representations.mesh import Mesh
from maquette.representations.surface import surface_points
from maquette.training.loop import LoopConfig, fit

KEPT = 2048  # points of each object in memory; a step takes another part of them each time


@dataclass(frozen=True)
class Config:
    """Options of `maquette train point_encoder`."""

    data: Path | None = None
    """Folder with `assets.jsonl`; left out, the one in MAQUETTE_DATA."""
    out: Path = Path("runs/point_encoder")
    """Run folder; the network is saved in its `model` folder and its accuracy in `accuracy.json`."""
    points: int = 1024
    """Points of a cloud, at most 2048."""
    jitter: float = 0.01
    """Standard deviation of the noise on positions, in units of the longest side of the object."""
    batch: int = 64
    """Clouds a step."""
    centres: tuple[int, int] = (128, 32)
    """Centres of the two levels of the network."""
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=400, rate=2e-3, warmup=30, decay_from=0.3, ema=0.98)
    )
    """Length, rates and seed."""


def main(config: Config) -> None:
    """Train on the training split, save the network, and measure it on the split that it has not seen."""
    if not 1 <= config.points <= KEPT:
        raise BadInput(f"{config.points} points a cloud were asked for; expected 1 to {KEPT}", "1024 is usual")
    torch.manual_seed(config.loop.seed)
    categories = sorted({row["category"] for row in read_index(config.data, split="train")})
    clouds, labels = known_clouds(config.data, "train", categories, config.loop.seed)
    net = PointEncoder(categories, centres=config.centres)
    device = config.loop.device

    def loss(net: nn.Module, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen = torch.randint(len(clouds), (config.batch,), generator=generator)
        some = torch.randperm(KEPT, generator=generator)[: config.points]
        truth = labels[chosen].to(device)
        logits = net(turned(clouds[chosen][:, some], config.jitter, generator).to(device))
        value = functional.cross_entropy(logits.float(), truth, label_smoothing=0.1)
        return value, {"top1": (logits.argmax(1) == truth).float().mean().item()}

    averaged = fit(net, loss, config.out, config.loop).cpu()
    averaged.half().save_pretrained(config.out / "model")
    saved = PointEncoder.from_pretrained(config.out / "model", torch_dtype=torch.float32, low_cpu_mem_usage=False)
    found = accuracy(saved.eval(), *known_clouds(config.data, "val", categories, config.loop.seed), config.points)
    found["commonest"] = labels.bincount().max().item() / len(labels)
    print(json.dumps(found), flush=True)
    with atomic_write(config.out / "accuracy.json", "w") as file:
        json.dump(found, file, indent=1)


def known_clouds(
    data: Path | None, split: str, categories: list[str], seed: int
) -> tuple[Float[Tensor, "objects points 3"], Int[Tensor, " objects"]]:
    """Surface points of every colored object of a split, and which category it is; -1 for one that is not listed."""
    draw, clouds, labels = torch.Generator().manual_seed(seed), [], []
    for row in read_index(data, split=split):
        item = read_mesh(row, data)
        mesh = Mesh(torch.from_numpy(item.vertices), torch.from_numpy(item.faces.astype(np.int64)))
        clouds.append(surface_points(mesh, KEPT, draw))
        labels.append(categories.index(item.category) if item.category in categories else -1)
    if not clouds:
        raise BadInput(f"the data has no colored object in the split {split!r}", "add one, or choose other data")
    return torch.stack(clouds), torch.tensor(labels)


def turned(
    clouds: Float[Tensor, "clouds points 3"], jitter: float, generator: torch.Generator
) -> Float[Tensor, "clouds points 3"]:
    """Every cloud by another angle about +Y, and its points moved by Gaussian noise cut at three deviations."""
    angle = torch.rand(len(clouds), generator=generator) * 2 * torch.pi
    x, y, z = clouds.unbind(dim=-1)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    noise = torch.randn(clouds.shape, generator=generator).clamp(-3, 3) * jitter
    return torch.stack([cos * x + sin * z, y, cos * z - sin * x], dim=-1) + noise


@torch.no_grad()
def accuracy(
    net: PointEncoder,
    clouds: Float[Tensor, "objects kept 3"],
    labels: Int[Tensor, " objects"],
    points: int,
) -> dict[str, float | int]:
    """Fractions of objects whose category is the first, and among the five first, that the network names.

    An object of a category that the network does not know is a miss.
    """
    logits = torch.cat([net(block[:, :points]) for block in clouds.split(64)])
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    return {
        "objects": len(labels),
        "top1": best[:, 0].double().mean().item(),
        "top5": best.any(1).double().mean().item(),
    }
