"""Recipe: the point latent (views -> points with features -> surfels) from meshes that are drawn on the fly.

Loss (GaussianAnything, arXiv 2411.08033, eq. 5, without the adversarial term): L1 of color and of coverage, a
perceptual distance, thickness along rays, normals, and the divergence of the features. The finest level and one coarser
level, drawn by lot, are rendered in each step, every level at its own size.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from maquette.data.augment import recolor
from maquette.data.posed import Posed, PosedSizes, draw_posed
from maquette.data.shards import CaptionedMesh, read_index, read_mesh
from maquette.guidance import perceptual
from maquette.models.gaussian_vae import GaussianVae
from maquette.models.surfel_decoder import Level
from maquette.priors.encoders import POCKET, PocketEncoder, load_encoder
from maquette.render.rendering import Rendering
from maquette.render.surfels import render_surfels
from maquette.training.loop import LoopConfig, fit

Load = Callable[[int], CaptionedMesh]


class Trainee(nn.Module):
    """The network, and how many steps it has learned: a part of the state, so that a resumed run knows."""

    def __init__(self, vae: GaussianVae):
        super().__init__()
        self.vae = vae
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))


@dataclass(frozen=True)
class Network:
    """Sizes of the network; `GaussianVae` says what they mean."""

    latent_channels: int = 8
    """Numbers of a point besides its position; 10 in the paper."""
    width: int = 192
    """Of the tokens; 768 in the paper."""
    heads: int = 6
    """Of the attention."""
    view_depth: int = 2
    """Blocks across the tokens of all views; 5 in the paper."""
    decoder_depth: int = 6
    """Blocks across the points; 12 in the paper."""
    splits: tuple[int, ...] = (4, 4)
    """Surfels that a surfel becomes, level by level; 8, 4, 3 in the paper."""
    level_widths: tuple[int, ...] = (192, 96)
    """Widths of the upsamplers."""


@dataclass(frozen=True)
class Weights:
    """Of the terms; those of color and coverage are 1."""

    perceptual: float = 0.2
    """Of one target view of each object, at the finest level; 0.8 in the official code, of a calibrated distance."""
    distortion: float = 100.0
    """Paper: 1000. Rays that graze a wide surfel give gradients that drown all others, the more so early on."""
    normal: float = 0.2
    """Paper: lambda_n; against the normals of the mesh, as in the official code."""
    divergence: float = 2.5e-6
    """Of nats summed over points and channels."""


@dataclass(frozen=True)
class Config:
    """Options of `maquette train gaussian_vae`."""

    data: Path | None = None
    """Asset folder; default MAQUETTE_DATA."""
    out: Path = Path("runs/gaussian_vae")
    """Run folder; the model is saved in its `model` folder."""
    encoder: Path = POCKET / "encoder"
    """Whose feature maps the perceptual term compares."""
    objects: int = 0
    """Only so many objects of the training split; 0 takes all."""
    batch: int = 4
    """Objects a step."""
    sizes: PosedSizes = field(default_factory=PosedSizes)
    """Views and points of an object."""
    level_pixels: tuple[int, ...] = (32, 48, 64)
    """Side of the pictures of each level, coarse to fine."""
    jitter: float = 0.005
    """Standard deviation of the noise on the points, world units; 0.01 in the official code."""
    thin_from: int = 1000
    """Step from which the distortion counts; 15 000 in the official code."""
    recolored: float = 0.5
    """Share of the objects whose main color is changed."""
    network: Network = field(default_factory=Network)
    """Sizes of the network."""
    weights: Weights = field(default_factory=Weights)
    """Of the loss."""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(minutes=60, rate=6e-4, warmup=100, decay_from=0.5))
    """Length and rates."""


def main(config: Config) -> None:
    """Train on the assets and save."""
    rows = read_index(config.data, split="train")
    count = min(config.objects or len(rows), len(rows))
    train(config, lambda number: read_mesh(rows[number], config.data), count)


def train(config: Config, load: Load, count: int) -> GaussianVae:
    """Train on what `load` gives for 0 to `count` - 1; returns the averaged network, which is also saved."""
    torch.manual_seed(config.loop.seed)
    trainee, device = Trainee(GaussianVae(**vars(config.network))), config.loop.device
    encoder = load_encoder(config.encoder, device=device)

    def loss(net: Trainee, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        with torch.autocast(torch.device(device).type, enabled=False):
            batch = draw_batch(config, load, count, generator)
        points = torch.stack([posed.points for posed in batch])
        points = points + config.jitter * torch.randn(points.shape, generator=generator)
        views, points = torch.stack([posed.views for posed in batch]).to(device), points.to(device)
        posterior = net.vae.encode(views, points)
        levels = net.vae.decode(points, posterior.sample(generator))
        coarse = int(torch.randint(max(len(levels) - 1, 1), (1,), generator=generator))
        view = int(torch.randint(config.sizes.targets, (1,), generator=generator))
        with torch.autocast(torch.device(device).type, enabled=False):  # pictures are drawn in float32
            terms = picture_terms(batch, levels, {coarse, len(levels) - 1}, view, encoder, config)
        terms["divergence"] = posterior.divergence().mean()
        net.steps += 1
        scales = {"color": 1.0, "mask": 1.0, **vars(config.weights)}
        if net.steps <= config.thin_from:
            del scales["distortion"]
        total = sum(scales[name] * term for name, term in terms.items() if name in scales)
        return total, {name: term.item() for name, term in terms.items()}

    def show(net: Trainee, path: Path) -> None:
        net.vae.save_pretrained(config.out / "model")  # with every state, so that a stopped run leaves one
        draw_sheet(config, net.vae, load, path)

    return fit(trainee, loss, config.out, config.loop, sheet=show).vae.to("cpu")


def draw_batch(config: Config, load: Load, count: int, generator: torch.Generator) -> list[Posed]:
    """Objects, their colors and their cameras, all from numbers of `generator`."""
    draw = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    batch = []
    for number in draw.integers(count, size=config.batch).tolist():
        mesh = load(number)
        mesh = recolor(mesh, draw) if draw.random() < config.recolored else mesh
        batch.append(draw_posed(mesh, draw, config.sizes))
    return batch


def picture_terms(
    batch: list[Posed], levels: list[Level], chosen: set[int], view: int, encoder: PocketEncoder, config: Config
) -> dict[str, Tensor]:
    """Unweighted terms, each the mean over objects and chosen levels; `psnr` of the finest level is only to be read.

    The perceptual term compares target number `view` at the finest level.
    """
    found: dict[str, list[Tensor]] = {"color": [], "mask": [], "distortion": [], "normal": [], "psnr": []}
    drawn, wanted = [], []
    for number, posed in enumerate(batch):
        for index in sorted(chosen):
            seen, rgba, normal = picture_of(levels[index], number, posed, config.level_pixels[index])
            found["color"].append((seen.color - rgba[..., :3]).abs().mean())
            found["mask"].append((seen.alpha - rgba[..., 3]).abs().mean())
            found["distortion"].append(seen.distortion.mean())
            is_known = normal.square().sum(-1) > 0.25  # a pixel on an edge between faces has a short mean normal
            lean = 1 - (seen.normal * functional.normalize(normal, dim=-1)).sum(-1)
            found["normal"].append(torch.where(is_known, lean, 0.0).mean())
        squared = (seen.color.detach().clamp(0, 1) - rgba[..., :3]).square().mean()
        found["psnr"].append(-10 * squared.clamp(min=1e-8).log10())
        drawn.append(seen.color[view])
        wanted.append(rgba[view, ..., :3])
    terms = {name: torch.stack(values).mean() for name, values in found.items()}
    with torch.no_grad():
        features = encoder.features(torch.stack(wanted))
    terms["perceptual"] = perceptual(encoder.features(torch.stack(drawn)), features).mean()
    return terms


def picture_of(level: Level, number: int, posed: Posed, pixels: int) -> tuple[Rendering, Tensor, Tensor]:
    """Object `number` of a level over white from the target cameras, and the targets' rgba and normals at that size."""
    device = level.means.device
    seen = render_surfels(
        level.cloud(number), posed.camera.resized(pixels, pixels).to(device),
        background=torch.ones(3, device=device),
    )  # fmt: skip
    both = torch.cat([posed.rgba, posed.normal], dim=-1).to(device).movedim(-1, 1)
    rgba, normal = functional.interpolate(both, (pixels, pixels), mode="area").movedim(1, -1).split([4, 3], dim=-1)
    return seen, rgba, normal


@torch.no_grad()
def draw_sheet(config: Config, model: GaussianVae, load: Load, path: Path, count: int = 8) -> None:
    """Objects 0 to `count` - 1, a column each: two targets, the finest level, its normals, the coarsest level."""
    from PIL import Image

    columns = []
    for number in range(count):
        posed = draw_posed(load(number), np.random.default_rng(number), config.sizes)
        points = posed.points[None].to(model.device)
        levels = model.decode(points, model.encode(posed.views[None].to(model.device), points).mean)
        fine, rgba, _ = picture_of(levels[-1], 0, posed, config.sizes.pixels)
        coarse, *_ = picture_of(levels[0], 0, posed, config.sizes.pixels)
        blank = (1 - fine.alpha)[..., None]
        shown = (rgba[..., :3], fine.color, 0.5 * fine.normal + 0.5 * (1 - blank) + blank, coarse.color)
        columns.append(torch.cat([picture[:2].flatten(0, 1) for picture in shown]))
    sheet = torch.cat(columns, dim=1).clamp(0, 1)
    Image.fromarray((sheet * 255).round().byte().cpu().numpy()).save(path)
