"""Recipe: the pocket autoencoder (RGBA 128 px <-> 4 x 4 x 128 latent) from rendered views.

The encoder is measured: principal components of patches. The decoder's seam repair is trained, on latents whose last
components are damaged as a denoiser damages them. Loss: L1 on colour and alpha with the object weighted above the empty
background, and L1 on image gradients (crisp edges).
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from maquette.data.sets import read_store
from maquette.models.autoencoder import PocketAutoencoder, principal_components
from maquette.training.loop import LoopConfig, fit


@dataclass(frozen=True)
class Config:
    """Options of `maquette train autoencoder`."""

    views: Path = Path("runs/views")
    """Store written by `maquette train views`."""
    out: Path = Path("runs/autoencoder")
    """Run folder; the model is saved in its `model` folder."""
    decoder_of: Path | None = None
    """Train only the seam repair of this saved model further: its latents stay valid for a trained denoiser."""
    components_from: int = 1500
    """Images that the principal components are measured on."""
    batch: int = 48
    """Images a step."""
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


def damaged(latents: Tensor, variances: Tensor, generator: torch.Generator) -> Tensor:
    """Latents (n, c, h, w) with errors like those of a denoiser: small components are missing, all are a bit off."""
    count = len(latents)
    level = torch.rand(count, 1, 1, 1, generator=generator).to(latents.device).square() * 0.3  # noise variance
    squares = variances.view(1, -1, 1, 1)
    kept = squares / (squares + level)  # what a Wiener filter keeps of each component
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    return kept * latents + 0.5 * (kept * level).sqrt() * noise


def main(config: Config) -> None:
    """Measure the components, train the seam repair and save."""
    torch.manual_seed(config.loop.seed)
    views, rows = read_store(config.views)
    device = config.loop.device

    def draw(generator: torch.Generator, count: int) -> Tensor:
        sets = torch.randint(len(rows), (count,), generator=generator)
        sides = torch.randint(views.shape[1], (count,), generator=generator)
        images = np.stack([views[s, v] for s, v in zip(sets.tolist(), sides.tolist(), strict=True)])
        return to_network(images).to(device).contiguous(memory_format=torch.channels_last)

    if config.decoder_of is not None:
        model = PocketAutoencoder.from_pretrained(config.decoder_of, low_cpu_mem_usage=False)
    else:
        model = measured(draw(torch.Generator().manual_seed(2), config.components_from))
    model.analysis.requires_grad_(False)
    model.synthesis.requires_grad_(False)
    model.to(device, memory_format=torch.channels_last)
    variances = torch.tensor(model.config.variances, device=device)

    def loss(net: nn.Module, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        images = draw(generator, config.batch)
        latents = net.encode(images).float()
        result = net.decode(damaged(latents, variances, generator)).float()
        mse = ((result.clamp(-1, 1) - images) ** 2).mean() / 4
        return reconstruction_loss(result, images), {"psnr": -10 * mse.log10().item()}

    def sheet(net: nn.Module, path: Path) -> None:
        from PIL import Image

        images = draw(torch.Generator().manual_seed(1), 16)
        with torch.no_grad():
            result = net.decode(net.encode(images)).clamp(-1, 1)
        rows_ = [torch.cat([images[i : i + 8], result[i : i + 8]]) for i in (0, 8)]
        grid = torch.cat(rows_).reshape(4, 8, 4, 128, 128).permute(0, 3, 1, 4, 2).reshape(512, 1024, 4)
        Image.fromarray(((grid[..., :3] * 0.5 + 0.5) * 255).byte().cpu().numpy()).save(path)

    averaged = fit(model, loss, config.out, config.loop, sheet=sheet)
    averaged.to("cpu").save_pretrained(config.out / "model")


def measured(images: Tensor) -> PocketAutoencoder:
    """An autoencoder whose linear part holds the principal components of the images; variances are 1 on average."""
    model = PocketAutoencoder()
    components, squares = principal_components(images.cpu(), model.config.patch, model.config.latent_channels)
    scale = squares.mean().sqrt()
    model.register_to_config(variances=(squares / scale**2).tolist())
    with torch.no_grad():
        model.analysis.weight.copy_(components / scale)
        model.synthesis.weight.copy_(components.T * scale)
    return model
