"""Sampling the views of a turntable from a multi-view prior, with its cost counted and its progress told.

This module knows neither what the views are for nor how a prior works.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from maquette.core import Camera, Event, Notice, Progress
from maquette.core.timing import timed
from maquette.diffusion import dpm_solver_pp_states, times
from maquette.priors.coverage import with_coverage
from maquette.priors.protocol import Condition, Encoder, MultiviewPrior


@dataclass
class ViewSampler:
    """Views of one condition from noise, and how many network evaluations they have cost so far."""

    prior: MultiviewPrior
    condition: Condition
    camera: Camera
    """One for each view."""
    resolution: int
    """Side of the views that come out, px."""
    options: dict[str, float]
    """Of `MultiviewPrior.denoise`: guidance and rescale."""
    reference: Float[Tensor, "1 size size 4"] | None = None
    """A picture that takes the place of the first view."""
    evaluations: int = 0

    def views(
        self,
        stage: str,
        noisy: Float[Tensor, "views channels height width"],
        start: float,
        steps: int,
        seconds: dict[str, float],
        *,
        part: tuple[int, int] = (0, 1),
    ) -> Generator[Event, None, Float[Tensor, "views size size 4"]]:
        """Denoise from time `start` in `steps` steps: sRGB on white and coverage. Adds its time to `seconds[stage]`.

        `part` (i, n) says that this is sample i of n, for the progress.
        """
        prior, before = self.prior, self.prior.evaluations

        def denoise(latents: Tensor, t: float) -> Tensor:
            return prior.denoise(latents, t, self.condition, self.camera, **self.options)

        states = dpm_solver_pp_states(denoise, noisy.to(prior.device), times(steps, start=start), prior.alphas_cumprod)
        for i in range(steps):
            with torch.no_grad(), timed(seconds, stage):
                latents = next(states)
            yield Progress(
                stage, part[0] * steps + i + 1, part[1] * steps
            )  # outside of no_grad, which would hold for the reader of events too
        with torch.no_grad(), timed(seconds, stage):
            rgba = with_coverage(resized(prior.decode(latents), self.resolution))
        self.evaluations += prior.evaluations - before
        return rgba if self.reference is None else torch.cat([self.reference, rgba[1:]])

    def best(
        self,
        encoder: Encoder,
        noises: Sequence[Float[Tensor, "views channels height width"]],
        steps: int,
        seconds: dict[str, float],
    ) -> Generator[Event, None, Float[Tensor, "views size size 4"]]:
        """One sample of each noise; returns the one that `encoder` finds most like the reference, else the prompt.

        What DALL-E (arXiv 2102.12092, section 2.6) does with CLIP. A single noise is not looked at.
        """
        samples = []
        for i, noise in enumerate(noises):
            samples.append((yield from self.views("views", noise, 1.0, steps, seconds, part=(i, len(noises)))))
        if len(samples) == 1:
            return samples[0]
        with torch.no_grad(), timed(seconds, "views"):
            if self.reference is None:
                wanted = encoder.embed_text([self.condition.prompt])[0]
            else:
                wanted = encoder.embed_image(self.reference[..., :3])[0]
            likeness = torch.stack([(encoder.embed_image(rgba[..., :3]) @ wanted).mean() for rgba in samples])
        found = ", ".join(f"{value:.2f}" for value in likeness.tolist())
        yield Notice(f"took the most fitting of {len(samples)} samples (likeness {found})")
        return samples[int(likeness.argmax())]


def resized(images: Float[Tensor, "views _ _ channel"], size: int) -> Float[Tensor, "views {size} {size} channel"]:
    """Images of another side, smoothed before they shrink."""
    if images.shape[1:3] == (size, size):
        return images
    scaled = F.interpolate(images.movedim(-1, 1), (size, size), mode="bilinear", antialias=True)
    return scaled.movedim(1, -1).contiguous()
