"""Recipe: the pocket multi-view denoiser and its text encoder, trained together on stored latents.

Curriculum by mixture: single views (with view words), sets of 4 and 8, then all 16; a part of the sets carries one
clean
reference view. Every batch has about the same number of tokens. Loss: squared error of v under a zero-terminal-SNR
scaled-linear schedule (Lin et al., arXiv 2305.08891), so the first step of sampling really starts from noise.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from maquette.data.captions import with_view_word, word_list
from maquette.data.sets import COMPOSED, DRESSED, PLAIN, RECOLORED, RELATED, read_store
from maquette.diffusion import guide
from maquette.models.autoencoder import PocketAutoencoder
from maquette.models.dit import MultiviewTransformer
from maquette.models.words import text_config, word_tokenizer
from maquette.priors.multiview import MAX_WORDS, MultiviewLatentPrior
from maquette.training.loop import LoopConfig, fit

SHEET_PROMPTS = (
    "a red apple", "a wooden chair", "a green car", "a brown horse", "a purple donut", "a knight", "a yellow house",
    "a blue sword", "a pine tree", "a spaceship", "a gray castle", "a dog",
)  # fmt: skip
IMAGE_SIZE = 128
KIND_WEIGHT = {PLAIN: 1.0, RECOLORED: 0.8, DRESSED: 0.5, COMPOSED: 0.25, RELATED: 0.3}


@dataclass(frozen=True)
class Config:
    """Options of `maquette train denoiser`."""

    views: Path = Path("runs/views")
    """Store with `latents.npy`, from `maquette train views` and `maquette train latents`."""
    autoencoder: Path = Path("runs/autoencoder/model")
    """Model saved by `maquette train autoencoder`."""
    out: Path = Path("runs/denoiser")
    """Run folder; the pipeline is saved in its `model` folder."""
    width: int = 256
    """Width of the transformer."""
    depth: int = 8
    """Blocks."""
    patch: int = 1
    """Latent pixels a side of a token: 1 gives 16 tokens a view."""
    text_width: int = 256
    """Width of the text encoder."""
    views_a_step: int = 256
    """Views in one batch, whatever the size of its sets."""
    early_mix: tuple[float, float, float, float] = (0.1, 0.55, 0.0, 0.35)
    """Shares of sets of 1, 4, 8 and 16 views at the beginning of the run."""
    late_mix: tuple[float, float, float, float] = (0.05, 0.15, 0.05, 0.75)
    """The same at the end; shares move linearly."""
    mix_steps: int = 3000
    """Optimiser steps after which the late shares hold."""
    reference_share: float = 0.15
    """Share of the batches of several views that carry a clean reference view."""
    drop_text: float = 0.12
    """Captions replaced by the empty one, for classifier-free guidance."""
    learned_guidance: tuple[float, float] | None = (4.0, 0.5)
    """Scale and rescale of the guidance that the network learns to give in one pass, from itself."""
    guided_share: float = 0.2
    """Share of the batches that teach it."""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(minutes=90, rate=1e-3, decay_from=0.5, ema=0.9995))
    """Length and rates."""


class Trainee(nn.Module):
    """The two networks that learn together, and the tokens of the captions."""

    def __init__(self, transformer: nn.Module, text_encoder: nn.Module):
        super().__init__()
        self.transformer, self.text_encoder = transformer, text_encoder


def schedule():
    """The noise schedule that is trained, as the diffusers scheduler that is shipped."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False,
    )  # fmt: skip


def build(config: Config, words: list[str]) -> tuple[Trainee, object]:
    """Fresh networks of the configured size, and the tokenizer."""
    from transformers import CLIPTextModel

    vae_config = PocketAutoencoder.load_config(config.autoencoder)
    tokenizer = word_tokenizer(words)
    transformer = MultiviewTransformer(
        latent_channels=vae_config["latent_channels"],
        latent_size=IMAGE_SIZE // vae_config["patch"],
        patch=config.patch,
        width=config.width,
        depth=config.depth,
        heads=config.width // 64,
        text_width=config.text_width,
        variances=vae_config["variances"],
        learned_guidance=None if config.learned_guidance is None else list(config.learned_guidance),
    )
    text = text_config(len(tokenizer), width=config.text_width, max_words=MAX_WORDS)
    return Trainee(transformer, CLIPTextModel(text)), tokenizer


class Batches:
    """Draws sets from a store so that rare categories are seen more often than their share."""

    def __init__(self, config: Config, tokenizer):
        _, rows = read_store(config.views)
        self.latents = np.load(config.views / "latents.npy", mmap_mode="r")
        self.rows, self.config, self.tokenizer = rows[: len(self.latents)], config, tokenizer
        counts: dict[str, int] = {}
        for row in self.rows:
            counts[row.category] = counts.get(row.category, 0) + 1
        weights = [KIND_WEIGHT[row.kind] / counts[row.category] ** 0.5 for row in self.rows]
        self.weights = torch.tensor(weights)
        schedule_ = schedule()
        self.alphas_cumprod = schedule_.alphas_cumprod.double()

    def draw(self, generator: torch.Generator, step: int, drop_text: float) -> dict[str, Tensor | None]:
        """One batch: clean latents, angles, token ids, and perhaps a reference view."""
        config = self.config
        late = min(step / config.mix_steps, 1.0)
        mix = torch.tensor(config.early_mix) * (1 - late) + torch.tensor(config.late_mix) * late
        views = (1, 4, 8, 16)[int(torch.multinomial(mix, 1, generator=generator))]
        count = config.views_a_step // views
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator).tolist()
        draw = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        with_reference = views > 1 and draw.random() < config.reference_share
        latents, azimuths, captions, references = [], [], [], []
        for number in chosen:
            first = int(draw.integers(16)) if views < 16 or with_reference else 0
            sides = (first + np.arange(views) * (16 // views)) % 16
            latents.append(self.latents[number][sides])
            start = first if with_reference else 0
            azimuths.append(2 * np.pi * ((sides - start) % 16) / 16)
            references.append(self.latents[number][first : first + 1] if with_reference else None)
            row = self.rows[number]
            caption = row.captions[draw.integers(len(row.captions))]
            known = True
            if views == 1 and draw.random() < 0.3:
                caption, known = with_view_word(caption, 22.5 * first, draw), draw.random() < 0.5
            azimuths[-1] = azimuths[-1] if known else np.full(views, np.nan)
            captions.append("" if draw.random() < drop_text * (4 if with_reference else 1) else caption)
        tokens = self.tokenizer(captions, padding="longest", truncation=True, max_length=MAX_WORDS, return_tensors="pt")
        elevations = torch.tensor([self.rows[n].elevation_deg for n in chosen]).deg2rad()[:, None].expand(-1, views)
        return {
            "latents": torch.from_numpy(np.stack(latents)).float(),
            "azimuth": torch.from_numpy(np.stack(azimuths)).float(),
            "elevation": elevations.float(),
            "ids": tokens["input_ids"],
            "mask": tokens["attention_mask"].bool(),
            "reference": torch.from_numpy(np.stack(references)).float() if with_reference else None,
        }


def main(config: Config) -> None:
    """Train and save a diffusers pipeline folder."""
    torch.manual_seed(config.loop.seed)
    _, rows = read_store(config.views)
    words = word_list([caption for row in rows for caption in row.captions])
    trainee, tokenizer = build(config, words)
    batches = Batches(config, tokenizer)
    device = config.loop.device
    taken = {"steps": 0}

    vae = PocketAutoencoder.from_pretrained(config.autoencoder, low_cpu_mem_usage=False).eval()

    def loss(net: nn.Module, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        guidance = config.learned_guidance
        teaches = guidance is not None and bool(torch.rand((), generator=generator) < config.guided_share)
        batch = batches.draw(generator, taken["steps"], 0.0 if teaches else config.drop_text)
        batch = {k: v.to(device) if v is not None else None for k, v in batch.items()}
        taken["steps"] += 1
        clean = batch["latents"]
        sets, views = clean.shape[:2]
        # a set of many alike views needs more noise for the same uncertainty than one view does
        level = (1000 * torch.rand(sets, generator=generator) ** (1.0 if views < 4 else 0.75)).long().clamp(max=999)
        if teaches:
            level = _sampled_levels(level)
        alpha_bar = batches.alphas_cumprod[level].to(device).view(-1, 1, 1, 1, 1)
        a, s = alpha_bar.sqrt().float(), (1 - alpha_bar).sqrt().float()
        noise = torch.randn(clean.shape, generator=generator).to(device)
        noisy = a * clean + s * noise
        where = (batch["azimuth"], batch["elevation"], batch["reference"])
        text = net.text_encoder(input_ids=batch["ids"], attention_mask=batch["mask"].long()).last_hidden_state
        v = net.transformer(noisy, level.to(device).float(), text, batch["mask"], *where, guided=teaches)
        if teaches:
            target = (a * noisy - guided(net, vae, noisy, level, text, batch, tokenizer, guidance, (a, s))) / s
        else:
            target = a * noise - s * clean
        error = ((v.float() - target) ** 2).mean()
        return error, {"guided" if teaches else f"views{views}": error.item()}

    def sheet(net: nn.Module, path: Path) -> None:
        draw_sheet(
            MultiviewLatentPrior(net.transformer, net.text_encoder, tokenizer, vae, batches.alphas_cumprod), path
        )

    averaged = fit(
        trainee, loss, config.out, config.loop, sheet=sheet if device == "cpu" else None, pure_half=True, muon=True
    )
    save_pipeline(averaged, tokenizer, vae, config.out / "model")


def _sampled_levels(level: Tensor) -> Tensor:
    """Levels that samplers with few steps visit: a fifth of them pure noise, none of the cleanest."""
    return torch.where(torch.arange(len(level)) % 5 == 0, 999, level.clamp(min=120))


@torch.no_grad()
def guided(
    net: Trainee, vae: PocketAutoencoder, noisy: Tensor, level: Tensor, text: Tensor, batch: dict[str, Tensor | None],
    tokenizer, guidance: tuple[float, float], scales: tuple[Tensor, Tensor],
) -> Tensor:  # fmt: skip
    """x0 (sets, views, c, h, w) as classifier-free guidance over two passes of `net` gives it, colors cut to range."""
    empty = tokenizer([""], return_tensors="pt").to(noisy.device)
    blank = net.text_encoder(input_ids=empty["input_ids"]).last_hidden_state.expand(len(noisy), -1, -1)
    every = torch.ones(blank.shape[:2], dtype=torch.bool, device=noisy.device)
    where, time = (batch["azimuth"], batch["elevation"], batch["reference"]), level.to(noisy.device).float()
    (a, s), (scale, rescale) = scales, guidance
    said = a * noisy - s * net.transformer(noisy, time, text, batch["mask"], *where).float()
    unsaid = a * noisy - s * net.transformer(noisy, time, blank, every, *where).float()
    x0 = torch.stack([guide(c, u, scale, rescale=rescale) for c, u in zip(said, unsaid, strict=True)])
    return vae.threshold(x0.flatten(0, 1).to(vae.dtype)).view_as(x0).float()


def draw_sheet(prior: MultiviewLatentPrior, path: Path, prompts: tuple[str, ...] = SHEET_PROMPTS) -> None:
    """Sample all 16 views of each prompt and show 8 of them in a row."""
    from PIL import Image

    from maquette.core.camera import turntable
    from maquette.diffusion import dpm_solver_pp, times

    camera, rows = turntable(16, 15.0), []
    for number, prompt in enumerate(prompts):
        condition = prior.condition(prompt)
        noise = torch.randn(16, *prior.latent_shape, generator=torch.Generator().manual_seed(number))
        z = dpm_solver_pp(
            lambda z, t, c=condition: prior.denoise(z, t, c, camera, guidance=3.0, rescale=0.5),
            noise,
            times(16),
            prior.alphas_cumprod,
        )
        rows.append(prior.decode(z)[::2, ..., :3].permute(1, 0, 2, 3).flatten(1, 2))
    Image.fromarray((torch.cat(rows) * 255).byte().numpy()).save(path)


def save_pipeline(trainee: nn.Module, tokenizer, vae: nn.Module, folder: Path) -> None:
    """Write the folder that `load_multiview` reads: fp16 safetensors in the layout of a diffusers pipeline."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    trainee.transformer.half().save_pretrained(folder / "transformer")
    trainee.text_encoder.half().save_pretrained(folder / "text_encoder")
    vae.half().save_pretrained(folder / "vae")
    tokenizer.save_pretrained(folder / "tokenizer")
    schedule().save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "MultiviewLatentPrior",
        "transformer": ["maquette.models.dit", "MultiviewTransformer"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "vae": ["maquette.models.autoencoder", "PocketAutoencoder"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
