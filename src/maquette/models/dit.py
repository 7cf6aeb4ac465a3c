"""The pocket denoiser: a diffusion transformer over the latents of a set of views.

PixArt blocks (Chen et al., arXiv 2310.00426: self-attention, cross-attention to text, AdaLN-single) where
self-attention runs
across all tokens of all views of a set, as in MVDream (arXiv 2308.16512). A camera embedding marks each view; one clean
reference view may join as further tokens. One view alone is an ordinary image denoiser. Stored as a diffusers model.
"""

import math

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from maquette.diffusion import scaled_linear

FREQUENCIES = 128  # of the time embedding
CAMERA_FEATURES = 8


def time_features(timestep: Float[Tensor, " sets"]) -> Float[Tensor, "sets features"]:
    """Sinusoids of the discrete diffusion time, 256 numbers (Vaswani et al. 2017)."""
    scale = torch.exp(-math.log(1e4) * torch.arange(FREQUENCIES, device=timestep.device) / FREQUENCIES)
    angle = timestep[:, None].float() * scale
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def camera_features(
    azimuth: Float[Tensor, "sets views"], elevation: Float[Tensor, "sets views"]
) -> Float[Tensor, "sets views features"]:
    """Smooth periodic features of orbit angles in radians."""
    parts = [f(k * azimuth) for k in (1, 2, 4) for f in (torch.sin, torch.cos)]
    return torch.stack([*parts, torch.sin(elevation) * 2, torch.cos(2 * elevation)], dim=-1)


class Attention(nn.Module):
    """Multi-head attention with normalised queries and keys; attends to `context` when given.

    Written as two products and a softmax: for a few hundred tokens on a CPU that is faster, backward above all, than
    the fused
    kernel.
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context_width or width, 2 * width)
        self.out = nn.Linear(width, width)
        self.query_norm, self.key_norm = nn.LayerNorm(width // heads), nn.LayerNorm(width // heads)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, context: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """`bias` (sets, 1, 1, keys) is added to the logits; -inf hides a key."""
        sets, tokens, width = x.shape
        source = x if context is None else context
        shape = (sets, -1, self.heads, width // self.heads)
        k, v = self.key_value(source).chunk(2, dim=-1)
        q = self.query_norm(self.query(x).view(shape)).transpose(1, 2)
        k = self.key_norm(k.view(shape)).transpose(1, 2)
        if x.device.type == "cpu":
            logits = (q * (width // self.heads) ** -0.5) @ k.transpose(2, 3)
            weights = (logits if bias is None else logits + bias).softmax(-1)
            attended = weights @ v.view(shape).transpose(1, 2)
        else:
            attended = functional.scaled_dot_product_attention(q, k, v.view(shape).transpose(1, 2), attn_mask=bias)
        return self.out(attended.transpose(1, 2).reshape(sets, tokens, width))


class Block(nn.Module):
    """Self-attention over the whole set, cross-attention to the words, feed-forward network; AdaLN-single."""

    def __init__(self, width: int, heads: int, text_width: int):
        super().__init__()
        self.self_attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads, text_width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.table = nn.Parameter(torch.randn(6, width) / width**0.5)
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)

    def forward(self, x: Tensor, text: Tensor, bias: Tensor, modulation: Tensor) -> Tensor:
        shape = x.shape[-1:]
        scale1, shift1, gate1, scale2, shift2, gate2 = (self.table + modulation)[:, :, None].unbind(1)
        seen = self.self_attention(torch.addcmul(shift1, functional.layer_norm(x, shape), 1 + scale1))
        x = torch.addcmul(x, gate1, seen)
        x = x + self.cross_attention(functional.layer_norm(x, shape), text, bias)
        hidden = self.expand(torch.addcmul(shift2, functional.layer_norm(x, shape), 1 + scale2))
        return torch.addcmul(x, gate2, self.contract(functional.gelu(hidden)))


class MultiviewTransformer(ModelMixin, ConfigMixin):
    """Predicts v (Salimans and Ho, arXiv 2202.00512) for every view of a set.

    `patch` latent pixels a side make one token. `variances` are the mean squares of the latent channels (all 1 if
    None): what the network sees and says is scaled by them, channel by channel, as Karras et al. (arXiv 2206.00364,
    table 1) do with one variance for all, so that it predicts only what the best linear denoiser does not know. The
    noise levels are those of Stable Diffusion's table with zero terminal SNR. `learned_guidance` (scale, rescale) says
    which classifier-free guidance the network gives in one pass when it is asked with `guided` (Meng et al.,
    arXiv 2210.03142, stage one); None if it has learned none.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 16,
        latent_size: int = 8,
        patch: int = 2,
        width: int = 384,
        depth: int = 8,
        heads: int = 6,
        text_width: int = 256,
        variances: list[float] | None = None,
        learned_guidance: list[float] | None = None,
    ):
        super().__init__()
        # Not buffers: half precision would round 1 - alpha_bar away.
        self._variances = torch.tensor(variances or [1.0] * latent_channels).view(1, 1, -1, 1, 1)
        self._alpha_bar = scaled_linear(zero_terminal_snr=True)
        self.tokens = (latent_size // patch) ** 2
        numbers = latent_channels * patch**2
        self.enter, self.leave = nn.Linear(numbers, width), nn.Linear(width, numbers)
        self.enter_reference = nn.Linear(numbers, width)
        self.position = nn.Parameter(torch.randn(self.tokens, width) * 0.02)
        self.camera = nn.Sequential(nn.Linear(CAMERA_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.any_side = nn.Parameter(torch.zeros(width))  # stands for an unknown azimuth (NaN)
        self.relative = nn.Parameter(torch.zeros(width))  # added to all views when azimuths count from a reference
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.pooled = nn.Linear(text_width, width)
        if learned_guidance is not None:
            self.guided = nn.Parameter(torch.zeros(width))  # added to the time embedding of guided predictions
        self.modulation = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(Block(width, heads, text_width) for _ in range(depth))
        self.last_table = nn.Parameter(torch.zeros(2, width))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def _tokens(self, latents: Tensor) -> Tensor:
        """(sets, views, c, h, w) -> (sets, views, tokens, c patch^2)."""
        p = self.config.patch
        sets, views, c, h, w = latents.shape
        folded = latents.reshape(sets, views, c, h // p, p, w // p, p)
        return folded.permute(0, 1, 3, 5, 2, 4, 6).reshape(sets, views, self.tokens, c * p * p)

    def forward(
        self,
        latents: Float[Tensor, "sets views c h w"],
        timestep: Float[Tensor, " sets"],
        text: Float[Tensor, "sets words text_width"],
        mask: Bool[Tensor, "sets words"],
        azimuth: Float[Tensor, "sets views"],
        elevation: Float[Tensor, "sets views"],
        reference: Float[Tensor, "sets 1 c h w"] | None = None,
        *,
        guided: bool = False,
    ) -> Float[Tensor, "sets views c h w"]:
        """`timestep` is the discrete index in [0, 999]; angles are in radians. With a `reference` (a clean view at
        azimuth 0
        and the first view's elevation) azimuths count from it; without, azimuth 0 is the object's front and NaN is an
        unknown side."""
        sets, views = latents.shape[:2]
        dtype, noisy = self.position.dtype, latents.float()
        a2 = self._alpha_bar[timestep.long().cpu()].float().to(noisy.device).view(-1, 1, 1, 1, 1)
        squares = self._variances.to(noisy.device)
        total = a2 * squares + (1 - a2)
        x = self.enter(self._tokens(noisy * total.rsqrt()).to(dtype)) + self.position
        cameras = self.camera(camera_features(azimuth.nan_to_num(), elevation).to(dtype))
        cameras = torch.where(azimuth.isnan()[..., None], self.any_side, cameras)
        x = x + cameras[:, :, None]
        if reference is not None:
            first = self.camera(camera_features(torch.zeros_like(elevation[:, :1]), elevation[:, :1]).to(dtype))
            clean = (
                self.enter_reference(self._tokens(reference.float() * squares.rsqrt()).to(dtype))
                + self.position
                + first[:, :, None]
            )
            x = torch.cat([x + self.relative, clean], dim=1)
        x, text = x.flatten(1, 2), text.to(dtype)
        share = (mask / mask.sum(1, keepdim=True).clamp(min=1)).to(dtype)
        emb = self.time(time_features(timestep).to(dtype)) + self.pooled((text * share[..., None]).sum(1))
        emb = functional.silu(emb + self.guided if guided else emb)
        modulation = self.modulation(emb).view(sets, 6, -1)
        bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -torch.inf)[:, None, None]
        for block in self.blocks:
            x = block(x, text, bias, modulation)
        scale, shift = (self.last_table + emb[:, None]).unbind(1)
        surprise = self._images(x[:, : views * self.tokens], scale, shift, latents.shape)
        return (a2 * (1 - a2)).sqrt() * (1 - squares) / total * noisy - (squares / total).sqrt() * surprise

    def _images(self, x: Tensor, scale: Tensor, shift: Tensor, shape: tuple[int, ...]) -> Tensor:
        sets, views, c, h, w = shape
        p = self.config.patch
        x = self.leave(functional.layer_norm(x, x.shape[-1:]) * (1 + scale[:, None]) + shift[:, None]).float()
        return x.reshape(sets, views, h // p, w // p, c, p, p).permute(0, 1, 4, 2, 5, 3, 6).reshape(shape)
