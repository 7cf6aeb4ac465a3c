"""Priors that know their distribution exactly: no weights, every prediction an equation. For tests and for teaching.

`RenderOracle` is "this one 3D scene, seen from any camera", with views that agree with each other as much or as
little as one likes, so that whole pipelines can be run and judged in seconds. `MixturePrior` is a mixture of
Gaussians with a name for each component, so that guidance can be checked against algebra. What a scene looks like
comes in as a function of the camera; this module does not know what made the image, except for the toy scene
`Solids`, which it casts rays at.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput
from maquette.core.rotation import quat_to_matrix
from maquette.core.seed import Streams
from maquette.diffusion import alpha_bar_at, guide, scaled_linear
from maquette.priors.protocol import Condition

Squares = Float[Tensor, "views channels size size"]
Look = Callable[[Camera], Float[Tensor, "views height width 4"]]  # sRGB blended on white, and coverage


def mixture_x0(
    z: Float[Tensor, "views dims"],
    alpha_bar: float,
    means: Float[Tensor, "#views components dims"],
    std: float,
    log_weights: Float[Tensor, " components"],
) -> Float[Tensor, "views dims"]:
    """E[x0 | z] for x0 ~ sum_k w_k N(means_k, std^2 I) and z = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps.

    Views are independent of each other. With `std` 0 the components are deltas; those have no density at alpha_bar = 1,
    where the nearest one of positive weight is the answer.
    """
    a = alpha_bar**0.5
    variance = alpha_bar * std**2 + 1 - alpha_bar
    squared = (z[:, None] - a * means).square().sum(-1)
    if variance > 0:
        weights = torch.softmax(log_weights - squared / (2 * variance), dim=-1)
        gain = a * std**2 / variance
    else:
        nearest = torch.where(log_weights > -torch.inf, squared, torch.inf).argmin(-1)
        weights, gain = F.one_hot(nearest, means.shape[1]).to(z.dtype), 0.0
    mean = (weights[:, None] @ means)[:, 0]
    return mean + gain * (z - a * mean)  # equal gains, so the corrections of the components average to one correction


class RenderOracle:
    """The exact denoiser of pictures of one known scene. Latents are pixels, channel first, [0, 1] -> [-1, 1].

    Each view is drawn on its own from `candidates` pictures of equal weight: the true one, and others of a scene
    turned by N(0, turn_deg^2) degrees about the vertical and tinted by up to `tint`. So a first sample disagrees with
    itself from view to view, as generated orbits do, while a sample that starts from slightly noised consistent
    renders stays near them. Each candidate is blurred into a Gaussian of standard deviation `std`. Words change
    nothing here.
    """

    def __init__(
        self,
        look: Look,
        *,
        image_size: int = 128,
        candidates: int = 1,
        turn_deg: float = 0.0,
        tint: float = 0.0,
        std: float = 0.0,
        with_coverage: bool = False,
        seed: int = 0,
    ):
        self.image_size = image_size
        self.latent_shape = (4 if with_coverage else 3, image_size, image_size)
        self.alphas_cumprod, self.device = scaled_linear(), torch.device("cpu")
        self.evaluations = 0
        self._look, self._candidates, self._turn_deg, self._tint, self._std = look, candidates, turn_deg, tint, std
        self._seed = seed
        self._pictures: tuple[Camera, Tensor] | None = None  # the last answer: a trajectory asks for the same cameras

    def condition(
        self, prompt: str, *, reference: Float[Tensor, "height width 3"] | None = None, camera: Camera | None = None
    ) -> Condition:
        """Keep the words and the reference view; neither changes what this prior knows."""
        return Condition(prompt, reference=reference, camera=camera)

    def encode(self, images: Float[Tensor, "views size size channel"]) -> Float[Tensor, "views c size size"]:
        """Pixels to [-1, 1], channel first; coverage is dropped unless this oracle was made with it."""
        return images[..., : self.latent_shape[0]].movedim(-1, 1) * 2 - 1

    def decode(self, latents: Squares) -> Float[Tensor, "views size size channels"]:
        """The inverse of `encode`, clamped to [0, 1]."""
        return ((latents.movedim(1, -1) + 1) / 2).clamp(0, 1)

    def denoise(
        self, latents: Squares, t: float, condition: Condition, camera: Camera, *,
        guidance: float = 1.0, rescale: float = 0.0,
    ) -> Squares:  # fmt: skip
        """The exact posterior mean; guidance has no effect, since there is only one scene, but is counted."""
        self.evaluations += 1 if guidance in (0, 1) else 2
        means = self.encode(self.pictures(camera).flatten(0, 1))
        means = means.reshape(len(latents), self._candidates, -1).to(latents)
        alpha_bar = alpha_bar_at(self.alphas_cumprod, t)
        x0 = mixture_x0(latents.flatten(1), alpha_bar, means, self._std, latents.new_zeros(self._candidates))
        return x0.reshape(latents.shape)

    def pictures(self, camera: Camera) -> Float[Tensor, "views candidates height width 4"]:
        """Everything that each view could be, the truth first."""
        if self._pictures is None or self._pictures[0] is not camera:
            draw = Streams(self._seed).generator("oracle")
            turns = self._turn_deg * torch.randn(self._candidates, len(camera), generator=draw)
            tints = self._tint * (2 * torch.rand(self._candidates, len(camera), 3, generator=draw) - 1)
            turns[0], tints[0] = 0, 0
            choices = [
                _tinted(self._look(_turned(camera, turn)), tint) for turn, tint in zip(turns, tints, strict=True)
            ]
            self._pictures = (camera, torch.stack(choices, dim=1))
        return self._pictures[1]


def _turned(camera: Camera, turn_deg: Float[Tensor, " cameras"]) -> Camera:
    """Each camera carried about the vertical axis through the origin."""
    half = torch.deg2rad(turn_deg) / 2
    zero = torch.zeros_like(half)
    turn = torch.eye(4).repeat(len(camera), 1, 1)
    turn[:, :3, :3] = quat_to_matrix(torch.stack([half.cos(), zero, half.sin(), zero], dim=-1))
    return replace(camera, world_from_camera=turn.to(camera.world_from_camera) @ camera.world_from_camera)


def _tinted(rgba: Float[Tensor, "v h w 4"], tint: Float[Tensor, "v 3"]) -> Float[Tensor, "v h w 4"]:
    """The object's own color times 1 + tint, on the same white."""
    rgb, alpha = rgba.split([3, 1], dim=-1)
    own = (rgb - (1 - alpha)) * (1 + tint[:, None, None].to(rgba))
    return torch.cat([(own + 1 - alpha).clamp(0, 1), alpha], dim=-1)


class MixturePrior:
    """A mixture of isotropic Gaussians over latents, one for each name, of equal weight; every view draws anew.

    The prompt is one of `names`, or empty for the whole mixture, which is also the unconditional distribution. Latents
    are the pixels in [0, 1] with the channels first, unscaled.
    """

    def __init__(self, means: Float[Tensor, "components channels size size"], std: float, names: tuple[str, ...]):
        self.means, self.std, self.names = means, std, names
        self.latent_shape = (means.shape[1], means.shape[2], means.shape[3])
        self.image_size = means.shape[-1]
        self.alphas_cumprod, self.device = scaled_linear(), torch.device("cpu")
        self.evaluations = 0

    def condition(
        self, prompt: str, *, reference: Float[Tensor, "height width 3"] | None = None, camera: Camera | None = None
    ) -> Condition:
        """`text` is the weight of each component, (1, 1, components). Raises `BadInput` for an unknown name."""
        if prompt and prompt not in self.names:
            raise BadInput(
                f"the prompt is {prompt!r}; expected one of {', '.join(self.names)}, or nothing", "choose one"
            )
        chosen = torch.tensor([not prompt or name == prompt for name in self.names])
        return Condition(prompt, (chosen / chosen.sum())[None, None].to(self.means), None, reference, camera)

    def encode(self, images: Float[Tensor, "views size size channel"]) -> Float[Tensor, "views c size size"]:
        """Channels first."""
        return images.movedim(-1, 1)

    def decode(self, latents: Squares) -> Float[Tensor, "views size size channels"]:
        """Channels last."""
        return latents.movedim(1, -1)

    def denoise(
        self, latents: Squares, t: float, condition: Condition, camera: Camera, *,
        guidance: float = 1.0, rescale: float = 0.0,
    ) -> Squares:  # fmt: skip
        """u + guidance (c - u) of the two exact posterior means; the same for every camera."""
        self.evaluations += 1 if guidance in (0, 1) else 2
        alpha_bar, z, means = alpha_bar_at(self.alphas_cumprod, t), latents.flatten(1), self.means.flatten(1)[None]
        chosen = condition.text[0, 0]
        both = [chosen, torch.full_like(chosen, 1 / len(self.names))]
        conditional, unconditional = (
            mixture_x0(z, alpha_bar, means.to(z), self.std, weights.log().to(z)) for weights in both
        )
        return guide(conditional, unconditional, guidance, rescale=rescale).reshape(latents.shape)


@dataclass(frozen=True)
class Solids:
    """Matt spheres and upright boxes under a fixed light, cast in closed form: a scene whose every view is known."""

    sphere_centers: Float[Tensor, "spheres 3"]
    sphere_radii: Float[Tensor, " spheres"]
    sphere_colors: Float[Tensor, "spheres 3"]
    box_centers: Float[Tensor, "boxes 3"]
    box_half_sizes: Float[Tensor, "boxes 3"]
    box_colors: Float[Tensor, "boxes 3"]

    @staticmethod
    def toy() -> "Solids":
        """A red ball on a green slab, a blue post at its right (+X) and a yellow nose in front (+Z)."""
        return Solids(
            sphere_centers=torch.tensor([[-0.08, 0.0, 0.0], [-0.08, 0.04, 0.27]]),
            sphere_radii=torch.tensor([0.26, 0.1]),
            sphere_colors=torch.tensor([[0.85, 0.15, 0.12], [0.95, 0.8, 0.1]]),
            box_centers=torch.tensor([[0.0, -0.32, 0.0], [0.3, 0.03, -0.05]]),
            box_half_sizes=torch.tensor([[0.42, 0.06, 0.3], [0.08, 0.35, 0.08]]),
            box_colors=torch.tensor([[0.2, 0.6, 0.25], [0.15, 0.3, 0.85]]),
        )

    def look(self, camera: Camera, *, supersample: int = 3) -> Float[Tensor, "views height width 4"]:
        """sRGB blended on white, and coverage; box-filtered over supersample^2 rays a pixel."""
        fine = camera.resized(camera.height * supersample, camera.width * supersample)
        color, hit = self._cast(*fine.rays())
        rgba = torch.cat([torch.where(hit[..., None], color, 1.0), hit[..., None].to(color)], dim=-1)
        return F.avg_pool2d(rgba.movedim(-1, 1), supersample).movedim(1, -1)

    def _cast(self, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """The color of the nearest surface along each ray (..., 3) and whether there is one (...)."""
        nearest = torch.full_like(origin[..., 0], torch.inf)
        color = torch.zeros_like(origin)
        light = F.normalize(origin.new_tensor([-0.45, 0.65, 0.61]), dim=0)
        for center, radius, own in zip(self.sphere_centers, self.sphere_radii, self.sphere_colors, strict=True):
            towards = origin - center
            along = (towards * direction).sum(-1)
            root = along.square() - towards.square().sum(-1) + radius**2
            distance = torch.where(root > 0, -along - root.clamp_min(0).sqrt(), torch.inf)
            normal = (towards + direction * distance[..., None].nan_to_num(posinf=0.0)) / radius
            nearest, color = _closer(nearest, color, distance, own, normal @ light)
        for center, half, own in zip(self.box_centers, self.box_half_sizes, self.box_colors, strict=True):
            inverse = 1 / torch.where(direction.abs() < 1e-9, 1e-9, direction)
            enter = (center - origin) * inverse - half * inverse.abs()  # slabs
            leave = (center - origin) * inverse + half * inverse.abs()
            distance, axis = enter.max(-1)
            distance = torch.where(distance < leave.amin(-1), distance, torch.inf)
            facing = -direction.gather(-1, axis[..., None])[..., 0].sign() * light[axis]
            nearest, color = _closer(nearest, color, distance, own, facing)
        return color, nearest < torch.inf


def _closer(nearest: Tensor, color: Tensor, distance: Tensor, own: Tensor, facing: Tensor) -> tuple[Tensor, Tensor]:
    wins = distance < nearest
    shaded = own * (0.65 + 0.35 * facing.clamp_min(0))[..., None]
    return torch.where(wins, distance, nearest), torch.where(wins[..., None], shaded, color)


class RandomPyramid:
    """An `Encoder` of random filters, the same in every run: stages of 3 x 3 convolutions with stride 2 and ReLU.

    Distances between its maps behave much as those of a trained network do for small differences (texture counts and
    alignment matters). It knows no words: sentences get unrelated random directions.
    """

    def __init__(self, *, widths: tuple[int, ...] = (16, 32, 64, 64), seed: int = 0):
        draw = Streams(seed).generator("pyramid")
        self._filters = []
        for inputs, outputs in zip((3, *widths[:-1]), widths, strict=True):
            filters = torch.randn(outputs, inputs, 3, 3, generator=draw)
            self._filters.append(filters * (2 / (9 * inputs)) ** 0.5)  # He: keeps the variance through ReLU

    def features(self, images: Float[Tensor, "images height width 3"]) -> list[Tensor]:
        """One map (images, channels, h, w) for each stage, at 1/2, 1/4, ... of the resolution."""
        x, maps = images.movedim(-1, 1) * 2 - 1, []
        for filters in self._filters:
            x = F.relu(F.conv2d(x, filters.to(x), stride=2, padding=1))
            maps.append(x)
        return maps

    def embed_image(self, images: Float[Tensor, "images height width 3"]) -> Float[Tensor, "images embedding"]:
        """The spatial means of all maps, as a unit vector."""
        return F.normalize(torch.cat([x.mean((2, 3)) for x in self.features(images)], dim=-1), dim=-1)

    def embed_text(self, texts: list[str]) -> Float[Tensor, "texts embedding"]:
        """A direction for each sentence that depends on nothing but its characters."""
        width = sum(len(filters) for filters in self._filters)
        rows = [torch.randn(width, generator=Streams(0).generator(text)) for text in texts]
        return F.normalize(torch.stack(rows), dim=-1)
