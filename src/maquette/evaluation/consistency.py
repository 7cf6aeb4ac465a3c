"""Do the views of an object show one and the same object? Fronts that look out on all sides, and colors that move.

Janus scores need an encoder that tells the sides of a thing apart; reprojection needs depth and no network.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput
from maquette.diffusion import view_prompt
from maquette.priors.protocol import Encoder
from maquette.render.rendering import Rendering


def janus_by_text(
    views: Float[Tensor, "views height width 3"], prompt: str, encoder: Encoder
) -> Bool[Tensor, " views"]:
    """Which views the text "PROMPT, front view" claims, against those of the side and the back.

    The encoder must know what these words mean. CLIP does; the pocket judge has learned captions without them.
    """
    texts = encoder.embed_text([view_prompt(prompt, view) for view in ("front", "side", "back")])
    return claimed(encoder.embed_image(views), texts)


def janus_by_reference(
    views: Float[Tensor, "views height width 3"],
    reference: Float[Tensor, "sides ref_height ref_width 3"],
    encoder: Encoder,
) -> Bool[Tensor, " views"]:
    """Which views the front of a reference turntable claims (its first picture) against its other sides.

    By the encoder's deepest feature maps, which still say what is where; embeddings of captioned pictures are made to
    forget the side (`docs/compare.md` has numbers). The mean of the reference is taken out of all maps: it says what
    the thing is, and what is left which side one sees. Views and reference need one size, unless the encoder resizes.
    """
    sides = encoder.features(reference)[-1].flatten(1)
    middle = sides.mean(dim=0)
    return claimed(encoder.features(views)[-1].flatten(1) - middle, sides - middle)


def claimed(
    views: Float[Tensor, "views embedding"], claimants: Float[Tensor, "claimants embedding"]
) -> Bool[Tensor, " views"]:
    """True where the first claimant is more similar to the view, by cosine, than any other; a tie is no claim.

    The share of true values is the Janus score: about a quarter for a turntable of an honest object with four sides, 1
    for one that shows its face everywhere.
    """
    if len(claimants) < 2:
        raise BadInput("one claimant has no rival; expected the front and at least one other side", "give more sides")
    likeness = F.normalize(views, dim=-1) @ F.normalize(claimants, dim=-1).T
    return likeness[:, 0] > likeness[:, 1:].amax(dim=1)


@dataclass(frozen=True)
class Agreement:
    """How well the colors of views agree where two of them see the same place."""

    difference: float
    """Mean absolute difference of sRGB values in [0, 1]; 0 where nothing depends on the view."""
    shared: float
    """The share of object pixels that were found again in the neighbouring view."""


def reprojection(
    rendering: Rendering,
    camera: Camera,
    *,
    pairs: list[tuple[int, int]] | None = None,
    tolerance: float = 0.01,
    coverage: float = 0.9,
) -> Agreement:
    """Carry the pixels of one view into another by the rendered depth, and compare colors where both see the place.

    `pairs` are (from, to); left out, each view goes to the next and the last to the first, as on a turntable. Only
    pixels with at least `coverage` are carried, and a place counts as seen by both if the depths agree to `tolerance`
    world units. A hollow or foggy object fails in `shared`, paint that follows the eye in `difference`.
    """
    count = len(camera)
    if pairs is None:
        pairs = [(i, (i + 1) % count) for i in range(count)]
    total, found, asked = 0.0, 0, 0
    origins, directions = camera.rays()
    forward = camera.world_from_camera[:, :3, 2]
    for source, target in pairs:
        solid = rendering.alpha[source] >= coverage
        along = directions[source] @ forward[source]
        points = origins[source] + directions[source] * (rendering.depth[source] / along)[..., None]
        pixels, depth = camera[target].project(points[solid])
        there = _sampled(rendering, target, pixels[0], camera)
        seen = (depth[0] > 0) & (there[:, 4] >= coverage) & ((there[:, 3] - depth[0]).abs() <= tolerance)
        total += (there[:, :3] - rendering.color[source][solid])[seen].abs().mean(dim=-1).sum().item()
        found, asked = found + int(seen.sum()), asked + int(solid.sum())
    if found == 0:
        raise BadInput("no pixel of a view was found again in another", "give views that overlap, of a solid object")
    return Agreement(total / found, found / asked)


def _sampled(
    rendering: Rendering, view: int, pixels: Float[Tensor, "points 2"], camera: Camera
) -> Float[Tensor, "points 5"]:
    """Color, depth and coverage between pixels (bilinear); nothing outside of the image."""
    maps = torch.cat([rendering.color[view], rendering.depth[view, ..., None], rendering.alpha[view, ..., None]], -1)
    place = pixels / pixels.new_tensor([camera.width, camera.height]) * 2 - 1
    place = place.nan_to_num(nan=2.0)  # on the plane of the camera: outside
    sampled = F.grid_sample(maps.movedim(-1, 0)[None], place[None, None], padding_mode="zeros", align_corners=False)
    return sampled[0, :, 0].T
