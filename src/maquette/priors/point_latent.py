"""The prior of the point latent: words -> points -> features -> surfels (GaussianAnything, arXiv 2411.08033, 3.3).

A folder holds `points` and `features` (the flows), `vae` (the decoder), `text_encoder` and `tokenizer`. The noise is an
argument, so that shape and look have seeds of their own, and an edited shape can be drawn again with the noise it had.
"""

from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.diffusion import guide, times
from maquette.diffusion.flow import Velocity, dormand_prince, heun
from maquette.models.gaussian_vae import GaussianVae
from maquette.models.point_flow import PointFlow
from maquette.priors.multiview import embed_text, fast_dtype, quiet_loading
from maquette.representations.point_latent import HALF_BOX
from maquette.representations.surfels import SurfelCloud

POCKET = Path(__file__).parent.parent / "pocket" / "gaussian_anything"
"""Where weights are looked for when no folder is given."""
RECIPES = (
    "maquette train gaussian_vae; then maquette train point_flow --part points, and again with --part features; "
    "then give --weights runs/point_flow/model"
)
"""What makes such a folder."""

_NETWORKS = ("points", "features", "vae", "text_encoder")

Words = tuple[Float[Tensor, "1 words text_width"], Bool[Tensor, "1 words"]]
"""A prompt as the flows are told it."""


class PointLatentPrior:
    """Both flows, the decoder and the words of a folder; every sample is one object."""

    def __init__(self, points: PointFlow, features: PointFlow, vae: GaussianVae, text_encoder, tokenizer):
        self.points, self.features, self.vae = points, features, vae
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.evaluations = 0
        """Network passes so far over one set of points; a guidance pair counts 2."""

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self.points.device

    @property
    def described(self) -> str:
        """One line for a person: the parts and the size of each."""
        counts = {name: sum(p.numel() for p in getattr(self, name).parameters()) for name in _NETWORKS}
        sizes = ", ".join(f"{name} {count / 1e6:.1f} M" for name, count in counts.items())
        return f"weights of {sizes}, on {self.device}"

    @property
    def channels(self) -> int:
        """Numbers of a feature."""
        return self.features.config.channels

    @torch.no_grad()
    def words(self, prompt: str) -> Words:
        """The prompt through the text encoder."""
        return embed_text(self.text_encoder, self.tokenizer, [prompt])

    def sample_points(
        self, noise: Float[Tensor, "points 3"], words: Words, *, guidance: float, steps: int | None
    ) -> Float[Tensor, "points 3"]:
        """Points in the box, world units, from standard normal noise; options as in `sample_flow`."""
        return self._sample(self.points, noise, words, None, guidance, steps).clamp(-HALF_BOX, HALF_BOX)

    def sample_features(
        self,
        noise: Float[Tensor, "points channels"],
        points: Float[Tensor, "points 3"],
        words: Words,
        *,
        guidance: float,
        steps: int | None,
    ) -> Float[Tensor, "points channels"]:
        """What the decoder wants to know of each of `points`; row i of the noise belongs to row i of them."""
        return self._sample(self.features, noise, words, points, guidance, steps)

    @torch.no_grad()
    def decode(
        self, points: Float[Tensor, "points 3"], features: Float[Tensor, "points channels"]
    ) -> list[SurfelCloud]:
        """Surfels of every level of detail, coarse to fine, on the CPU."""
        dtype = next(self.vae.parameters()).dtype
        levels = self.vae.decode(points[None].to(self.device), features[None].to(self.device, dtype))
        return [level.cloud(0).to("cpu") for level in levels]

    def _sample(
        self, flow: PointFlow, noise: Tensor, words: Words, points: Tensor | None, guidance: float, steps: int | None
    ) -> Tensor:
        noise = noise[None].to(self.device)
        where = None if points is None else points[None].to(self.device)
        data, passes = sample_flow(flow, noise, *words, points=where, guidance=guidance, steps=steps)
        self.evaluations += passes
        return data[0].cpu()


@torch.no_grad()
def sample_flow(
    flow: PointFlow,
    noise: Float[Tensor, "sets points channels"],
    text: Float[Tensor, "sets words text_width"],
    mask: Bool[Tensor, "sets words"],
    *,
    points: Float[Tensor, "sets points 3"] | None = None,
    guidance: float = 4.0,
    steps: int | None = 25,
) -> tuple[Float[Tensor, "sets points channels"], int]:
    """Follow the guided velocity from `noise` to data: v0 + guidance (v - v0), where v0 is told zeros for words.

    `steps` of Heun (two evaluations each), or the adaptive solver if None. The zero condition leaves out the words and
    not the `points`. Returns data in their own units, and the passes over one set that they took.
    """
    velocity = _guided(flow, text, mask, points, guidance)
    passes = 0

    def counted(z: Tensor, t: float) -> Tensor:
        nonlocal passes
        passes += 1 if guidance == 1 else 2
        return velocity(z, t)

    data = dormand_prince(counted, noise) if steps is None else heun(counted, noise, times(steps))
    return flow.restore(data), passes


def _guided(flow: PointFlow, text: Tensor, mask: Tensor, points: Tensor | None, guidance: float) -> Velocity:
    told = torch.cat([text, torch.zeros_like(text)])
    both = None if points is None else points.repeat(2, 1, 1)

    def velocity(z: Tensor, t: float) -> Tensor:
        now = torch.full((len(z),), t, device=z.device)
        if guidance == 1:
            return flow(z, now, text, mask, points)
        said, unsaid = flow(z.repeat(2, 1, 1), now.repeat(2), told, mask.repeat(2, 1), both).chunk(2)
        return guide(said, unsaid, guidance)

    return velocity


def load_point_latent(
    folder: Path | str | None = None, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> PointLatentPrior:
    """Read a folder that `maquette train point_flow` has written, for inference; `POCKET` if None is given.

    Networks are bf16 where the hardware multiplies bf16, else float32, if `dtype` is left out; the adaptive solver
    takes fewer steps in float32. Raises BadInput that says which parts are missing and how to make them.
    """
    from transformers import CLIPTextModel, PreTrainedTokenizerFast

    folder = POCKET if folder is None else Path(folder)
    missing = [name for name in (*_NETWORKS, "tokenizer") if not (folder / name).is_dir()]
    if missing:
        raise BadInput(f"there are no weights of gaussian-anything in {folder}: no {', '.join(missing)}", RECIPES)
    dtype = dtype or fast_dtype(torch.device(device))
    options = {"torch_dtype": dtype, "low_cpu_mem_usage": False, "use_safetensors": True}
    try:
        with quiet_loading():
            points, features = (PointFlow.from_pretrained(folder / name, **options) for name in _NETWORKS[:2])
            vae = GaussianVae.from_pretrained(folder / "vae", **options)
            text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype, use_safetensors=True)
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    except (OSError, ValueError, RuntimeError) as error:  # a part without its file, or with weights of another shape
        reason = str(error).strip().splitlines()[0]
        raise BadInput(f"the weights in {folder} cannot be read: {reason}", RECIPES) from error
    told = (text_encoder.config.hidden_size, vae.config.latent_channels)
    wanted = (points.config.text_width, features.config.channels)
    if told != wanted or features.config.text_width != told[0]:
        raise BadInput(
            f"the parts in {folder} do not fit: words and features have {told} numbers, the flows take {wanted}",
            "train both flows again for this decoder and these words",
        )
    for part in (points, features, vae, text_encoder):
        part.eval().requires_grad_(False).to(device)
    return PointLatentPrior(points, features, vae, text_encoder, tokenizer)
