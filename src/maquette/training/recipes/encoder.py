"""Recipe: the pocket encoder, contrastive between rendered views and captions (CLIP's loss).

Run twice with different seeds: one network guides (losses, features), the other judges and is never used for anything
else.
Equal captions in a batch count as one answer. Backgrounds, crops, brightness and blur vary, so that renders of fitted
Gaussians
and photographs are not foreign to it.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from maquette.data.captions import word_list
from maquette.data.sets import COMPOSED, read_store
from maquette.models.encoder import TwoTowers, text_tower, vision_tower
from maquette.models.words import word_tokenizer
from maquette.priors.multiview import MAX_WORDS
from maquette.training.loop import LoopConfig, fit


@dataclass(frozen=True)
class Config:
    """Options of `maquette train encoder`."""

    views: Path = Path("runs/views")
    """Store written by `maquette train views`."""
    out: Path = Path("runs/encoder")
    """Run folder; the towers are saved in its `model` folder."""
    batch: int = 128
    """Pairs a step."""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(minutes=12, rate=1e-3, decay_from=0.3, ema=0.995))
    """Length, rates and the seed that tells guide (0) from judge (1)."""


def augment(rgba: Tensor, generator: torch.Generator) -> Tensor:
    """Views (n, 4, h, w) in [0, 1] -> pictures (n, 3, h, w) in [-1, 1] with varied background, place, size, light and
    blur."""
    count, _, height, width = rgba.shape
    uniform = torch.rand(8, count, 1, 1, 1, generator=generator).to(rgba.device)
    plain = uniform[0] < 0.6
    back = torch.where(plain, 1.0, torch.rand(count, 3, 1, 1, generator=generator).to(rgba.device))
    alpha = rgba[:, 3:]
    picture = rgba[:, :3] - (1 - alpha) + back * (1 - alpha)  # stored on white
    zoom = 0.85 + 0.3 * uniform[1].view(-1)
    theta = torch.zeros(count, 2, 3, device=rgba.device)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom
    theta[:, :, 2] = (uniform[2:4].view(2, -1).T - 0.5) * 0.25
    grid = functional.affine_grid(theta, (count, 3, height, width), align_corners=False)
    picture = functional.grid_sample(picture, grid, padding_mode="border", align_corners=False)
    picture = picture * (0.85 + 0.3 * uniform[4])
    soft = functional.avg_pool2d(picture, 3, 1, 1)
    picture = picture + (soft - picture) * (uniform[5] * (uniform[6] < 0.5))
    return picture.clamp(0, 1) * 2 - 1


def main(config: Config) -> None:
    """Train both towers and save them."""
    torch.manual_seed(config.loop.seed)
    views, rows = read_store(config.views)
    tokenizer = word_tokenizer(word_list([caption for row in rows for caption in row.captions]))
    towers = TwoTowers(vision_tower(), text_tower(len(tokenizer), MAX_WORDS))
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.category] = counts.get(row.category, 0) + 1
    kind = {COMPOSED: 0.2}
    weights = torch.tensor([kind.get(row.kind, 1.0) / counts[row.category] ** 0.5 for row in rows])
    device = config.loop.device

    def loss(net: nn.Module, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen = torch.multinomial(weights, config.batch, replacement=True, generator=generator).tolist()
        sides = torch.randint(16, (config.batch,), generator=generator).tolist()
        draw = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        captions = [rows[n].captions[draw.integers(len(rows[n].captions))] for n in chosen]
        rgba = torch.from_numpy(np.stack([views[n, side] for n, side in zip(chosen, sides, strict=True)]))
        pixels = augment(rgba.to(device).movedim(-1, 1).float() / 255, generator)
        tokens = tokenizer(captions, padding="max_length", truncation=True, max_length=MAX_WORDS, return_tensors="pt")
        image = net.image(pixels.contiguous(memory_format=torch.channels_last))
        text = net.words(tokens["input_ids"].to(device), tokens["attention_mask"].to(device))
        logits = net.log_scale.exp().clamp(max=100) * image @ text.T
        same = torch.tensor([[a == b for b in captions] for a in captions], device=device).float()
        target = same / same.sum(1, keepdim=True)
        value = functional.cross_entropy(logits, target) / 2 + functional.cross_entropy(logits.T, target) / 2
        hit = same[torch.arange(len(captions)), logits.argmax(1).cpu()].mean().item()
        return value, {"top1": hit}

    averaged = fit(towers, loss, config.out, config.loop)
    folder = config.out / "model"
    averaged.vision.half().save_pretrained(folder / "vision")
    averaged.text.half().save_pretrained(folder / "text")
    tokenizer.save_pretrained(folder / "tokenizer")
