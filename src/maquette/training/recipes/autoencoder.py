"""Recipe: the pocket autoencoder (RGBA 128 px <-> 8 x 8 x 16 latent) from rendered views.

Loss: L1 on colour and alpha with the object weighted above the empty background, L1 on image gradients (crisp edges),
and a
small KL term. Afterwards the latents' mean and deviation per channel are measured and stored in the config.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from maquette.data.sets import read_store
from maquette.models.autoencoder import PocketAutoencoder
from maquette.training.loop import LoopConfig, fit


@dataclass(frozen=True)
class Config:
    """Options of `maquette train autoencoder`."""

    views: Path = Path("runs/views")
    """Store written by `maquette train views`."""
    out: Path = Path("runs/autoencoder")
    """Run folder; the model is saved in its `model` folder."""
    decoder_of: Path | None = None
    """Train only the decoder of this saved model further: its latents stay valid for a trained denoiser."""
    batch: int = 48
    """Images a step."""
    kl_weight: float = 3e-4
    """Weight of the KL term (mean over latent numbers)."""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(minutes=25, rate=1e-3, decay_from=0.4))
    """Length and rates."""


def to_network(views: np.ndarray) -> Tensor:
    """(..., h, w, 4) uint8 -> (..., 4, h, w) float32 in [-1, 1]."""
    return torch.from_numpy(np.array(views)).movedim(-1, -3).float() / 127.5 - 1


def reconstruction_loss(result: Tensor, target: Tensor) -> Tensor:
    """Weighted L1 of values and of differences between neighbouring pixels."""
    weight = 1 + 2 * (target[:, 3:] * 0.5 + 0.5)
    error = (result - target).abs()
    across = ((result - target).diff(dim=-1)).abs().mean() + ((result - target).diff(dim=-2)).abs().mean()
    return (error * weight).mean() + across + 2 * (error**2).mean()


def main(config: Config) -> None:
    """Train, measure the latents and save."""
    torch.manual_seed(config.loop.seed)
    views, rows = read_store(config.views)
    if config.decoder_of is not None:
        model = PocketAutoencoder.from_pretrained(config.decoder_of, low_cpu_mem_usage=False)
        model.encoder.requires_grad_(False)
    else:
        model = PocketAutoencoder()
    model.to(memory_format=torch.channels_last)

    def draw(generator: torch.Generator, count: int) -> Tensor:
        sets = torch.randint(len(rows), (count,), generator=generator)
        sides = torch.randint(views.shape[1], (count,), generator=generator)
        images = np.stack([views[s, v] for s, v in zip(sets.tolist(), sides.tolist(), strict=True)])
        return to_network(images).to(config.loop.device).contiguous(memory_format=torch.channels_last)

    def loss(net: nn.Module, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        images = draw(generator, config.batch)
        posterior = net.encode(images)
        result = net.decode(posterior.sample(generator)).float()
        mse = ((result.clamp(-1, 1) - images) ** 2).mean() / 4
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        total = reconstruction_loss(result, images) + config.kl_weight * kl
        return total, {"psnr": -10 * mse.log10().item(), "kl": kl.item()}

    def sheet(net: nn.Module, path: Path) -> None:
        from PIL import Image

        images = draw(torch.Generator().manual_seed(1), 16)
        with torch.no_grad():
            result = net.decode(net.encode(images).mode()).clamp(-1, 1)
        rows_ = [torch.cat([images[i : i + 8], result[i : i + 8]]) for i in (0, 8)]
        grid = torch.cat(rows_).reshape(4, 8, 4, 128, 128).permute(0, 3, 1, 4, 2).reshape(512, 1024, 4)
        Image.fromarray(((grid[..., :3] * 0.5 + 0.5) * 255).byte().cpu().numpy()).save(path)

    averaged = fit(model, loss, config.out, config.loop, sheet=sheet)
    if config.decoder_of is None:
        with torch.no_grad():
            latents = averaged.encode(draw(torch.Generator().manual_seed(2), 2048)).mode()
        averaged.register_to_config(
            shift_factor=latents.mean((0, 2, 3)).tolist(), scaling_factor=latents.std((0, 2, 3)).tolist()
        )
    averaged.to("cpu").save_pretrained(config.out / "model")
