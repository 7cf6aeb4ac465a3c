"""Recipe: one of the two flows of the point latent, points from words or features from points and words.

Flow matching on the GVP path with a uniform time and the velocity as target (GaussianAnything, arXiv 2411.08033, B.2).
Both parts learn from latents of the encoder and not from one another, so their order does not matter. The latents are
made on the first run. When both parts have been trained, `out/model` is what `maquette generate --weights` takes.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from maquette.core.camera import orbit
from maquette.core.errors import BadInput
from maquette.core.files import atomic_write
from maquette.data.posed import PosedSizes, draw_posed
from maquette.data.shards import CaptionedMesh, read_index, read_mesh
from maquette.diffusion.flow import gvp
from maquette.models.gaussian_vae import GaussianVae, Posterior
from maquette.models.point_flow import PointFlow
from maquette.priors.multiview import POCKET, embed_text, quiet_loading
from maquette.priors.point_latent import sample_flow
from maquette.render import render_gaussians
from maquette.render.surfels import render_surfels
from maquette.representations.gaussians import from_points
from maquette.training.loop import LoopConfig, fit

Load = Callable[[int], CaptionedMesh]
SHOWN = 6
"""Objects on the sheet."""
DOT = 1.5
"""Points are drawn narrower than the gaps between them by this logarithm."""
VIEW, WHITE = orbit(torch.tensor([30.0]), torch.tensor([20.0]), size=96), torch.ones(3)


@dataclass(frozen=True)
class Config:
    """Options of `maquette train point_flow`."""

    part: Literal["points", "features"] = "points"
    """Which of the two flows."""
    data: Path | None = None
    """Asset folder; default MAQUETTE_DATA."""
    vae: Path = Path("runs/gaussian_vae/model")
    """Model saved by `maquette train gaussian_vae`."""
    words: Path = POCKET
    """Pipeline folder whose text encoder is read, and not trained."""
    out: Path = Path("runs/point_flow")
    """Folder of both parts: `latents.npz`, a run folder for each part, and `model`."""
    objects: int = 0
    """Only so many objects of the training split; 0 takes all."""
    draws: int = 2
    """Latents of each object, from other cameras and other points."""
    sizes: PosedSizes = field(default_factory=PosedSizes)
    """Views and points of an object; the targets are not used."""
    batch: int = 32
    """Sets a step."""
    width: int = 256
    """Of the tokens, a multiple of 64; 1024 in the paper."""
    depth: int = 8
    """Blocks; 24 in the paper."""
    drop_text: float = 0.1
    """Share of the sets that are told nothing, for guidance."""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(minutes=60, rate=1e-3, decay_from=0.5, ema=0.9995))
    """Length and rates."""


def main(config: Config) -> None:
    """Encode the assets if need be, train and save."""
    rows = read_index(config.data, split="train")
    count = min(config.objects or len(rows), len(rows))
    train(config, lambda number: read_mesh(rows[number], config.data), count)


def train(config: Config, load: Load, count: int) -> PointFlow:
    """Train on the objects 0 to `count` - 1, whose captions are the words; returns the averaged network.

    Saves it in `out/model/PART`, and what sampling needs besides it in `out/model`. Raises BadInput where there is no
    decoder, or where latents of another one lie.
    """
    from transformers import CLIPTextModel, PreTrainedTokenizerFast

    latents = read_latents(config, load, count)
    with quiet_loading():
        text_encoder = CLIPTextModel.from_pretrained(config.words / "text_encoder", dtype=torch.float32)
    device = config.loop.device
    text_encoder = text_encoder.eval().requires_grad_(False).to(device)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(config.words / "tokenizer")
    captions = [load(number).captions for number in range(count)]
    torch.manual_seed(config.loop.seed)
    model = build(config, latents, text_encoder.config.hidden_size)

    def loss(net: nn.Module, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        rows = torch.randint(len(latents["points"]), (config.batch,), generator=generator)
        draw = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        objects = (rows // config.draws).tolist()
        said = [captions[number][draw.integers(len(captions[number]))] for number in objects]
        is_told = torch.rand(len(rows), generator=generator) >= config.drop_text
        points, data = latents["points"][rows], latents["points"][rows]
        if config.part == "features":
            data = Posterior(latents["mean"][rows], latents["log_variance"][rows]).sample(generator)
        text, mask = embed_text(text_encoder, tokenizer, said)
        text = text * is_told.to(text)[:, None, None]
        t = torch.rand(len(rows), generator=generator)
        noise = torch.randn(data.shape, generator=generator)
        z, wanted = gvp(net.normalize(data), noise, t[:, None, None])
        where = points.to(device) if config.part == "features" else None
        error = (net(z.to(device), t.to(device), text, mask, where) - wanted.to(device)).square().mean((1, 2))
        is_late = (t > 0.5).to(error)  # the noisier half decides what a set is, the other one its details
        return error.mean(), {"noisy": _mean(error, is_late), "clean": _mean(error, 1 - is_late)}

    vae = GaussianVae.from_pretrained(config.vae, low_cpu_mem_usage=False).eval().to(device)
    shown = torch.arange(min(SHOWN, count)) * config.draws
    some = {name: tensor[shown] for name, tensor in latents.items()}
    told = embed_text(text_encoder, tokenizer, [captions[row // config.draws][0] for row in shown.tolist()])

    def show(net: PointFlow, path: Path) -> None:
        net.save_pretrained(config.out / "model" / config.part)  # with every state, so that a stopped run leaves one
        draw_sheet(net, vae, some, told, path)

    sources = {"vae": config.vae, **{name: config.words / name for name in ("text_encoder", "tokenizer")}}
    for name, source in sources.items():
        shutil.copytree(source, config.out / "model" / name, dirs_exist_ok=True)
    return fit(model, loss, config.out / config.part, config.loop, sheet=show).to("cpu")


def read_latents(config: Config, load: Load, count: int) -> dict[str, Tensor]:
    """`points` (n, points, 3) and `mean` and `log_variance` of their features, `draws` rows for each object.

    Made and kept in `out/latents.npz` if they are not there.
    """
    path, weights = config.out / "latents.npz", config.vae / "diffusion_pytorch_model.safetensors"
    if not weights.is_file():
        raise BadInput(
            f"there is no decoder in {config.vae}", "make it with maquette train gaussian_vae, or give --vae"
        )
    mark = blake2b(weights.read_bytes(), digest_size=8).hexdigest() + repr((count, config.draws, config.sizes))
    if not path.exists():
        config.out.mkdir(parents=True, exist_ok=True)
        found = _encoded(config, load, count)
        with atomic_write(path) as file:
            np.savez(file, mark=np.array(mark), **found)
    with np.load(path, allow_pickle=False) as arrays:
        if str(arrays["mark"]) != mark:
            raise BadInput(
                f"{path} holds latents of another decoder, of other objects or other sizes",
                "delete it, or choose another --out",
            )
        return {name: torch.from_numpy(arrays[name]).float() for name in ("points", "mean", "log_variance")}


@torch.no_grad()
def _encoded(config: Config, load: Load, count: int) -> dict[str, np.ndarray]:
    model = GaussianVae.from_pretrained(config.vae, low_cpu_mem_usage=False).eval()
    found: dict[str, list[np.ndarray]] = {"points": [], "mean": [], "log_variance": []}
    for row in range(count * config.draws):
        posed = draw_posed(load(row // config.draws), np.random.default_rng(row), config.sizes)
        mean, log_variance = model.encode(posed.views[None], posed.points[None])
        found["points"].append(posed.points.numpy())
        found["mean"].append(mean[0].numpy().astype(np.float16))
        found["log_variance"].append(log_variance[0].numpy().astype(np.float16))
        if row % 500 == 499:
            print(f"{row + 1} of {count * config.draws} latents", flush=True)
    return {name: np.stack(values) for name, values in found.items()}


def build(config: Config, latents: dict[str, Tensor], text_width: int) -> PointFlow:
    """A fresh network that knows the mean and the spread of its data; one spread for all three axes of points."""
    if config.part == "points":
        mean, std = latents["points"].mean((0, 1)), latents["points"].std().expand(3)
    else:
        mean = latents["mean"].mean((0, 1))
        std = (latents["mean"].var((0, 1)) + latents["log_variance"].exp().mean((0, 1))).sqrt()
    return PointFlow(
        channels=len(mean), width=config.width, depth=config.depth, heads=max(config.width // 64, 1),
        text_width=text_width, on_points=config.part == "features", mean=mean.tolist(), std=std.tolist(),
    )  # fmt: skip


@torch.no_grad()
def draw_sheet(
    flow: PointFlow, vae: GaussianVae, latents: dict[str, Tensor], told: tuple[Tensor, Tensor], path: Path
) -> None:
    """Latents, a column each: as the encoder has them, and below as the flow makes them from their words."""
    from PIL import Image

    points, device = latents["points"], vae.device
    is_look = flow.position is not None
    noise = torch.randn(*points.shape[:2], flow.config.channels, generator=torch.Generator().manual_seed(0))
    where = points.to(device) if is_look else None
    made, _ = sample_flow(flow, noise.to(device), *told, points=where, guidance=2.0, steps=8)
    rows = []
    for data in (latents["mean"] if is_look else points, made):
        if is_look:
            level = vae.decode(points.to(device), data.to(device))[-1]
            seen = [render_surfels(level.cloud(i).to("cpu"), VIEW, background=WHITE) for i in range(len(points))]
        else:
            clouds = [from_points(cloud, (0.5 + cloud).clamp(0, 1), opacity=0.9) for cloud in data.cpu()]
            dots = [replace(cloud, log_scales=cloud.log_scales - DOT) for cloud in clouds]
            seen = [render_gaussians(cloud, VIEW, background=WHITE) for cloud in dots]
        rows.append(torch.cat([rendering.color[0] for rendering in seen], dim=1))
    sheet = torch.cat(rows).clamp(0, 1)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(path)


def _mean(values: Tensor, weights: Tensor) -> float:
    return ((values * weights).sum() / weights.sum().clamp(min=1)).item()
