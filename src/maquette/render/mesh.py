"""Pictures of meshes: visibility from the triangle kernel, color by lookup. Not differentiable."""

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput
from maquette.core.rotation import normalize
from maquette.kernels.triangle import rasterize
from maquette.render.rendering import Rendering
from maquette.representations.mesh import Mesh
from maquette.representations.surface import surface_color

AMBIENT, SKY, KEY = 0.56, 0.22, 0.30
"""Shares of light from everywhere, from above, and from `light`: what the training views are lit with."""
SAMPLES_AT_ONCE = 4_000_000
"""Cameras are drawn in groups of about this many samples, which bounds memory to a few hundred MB."""


def render_mesh(
    mesh: Mesh,
    camera: Camera,
    *,
    background: Float[Tensor, " 3"] | None = None,
    light: Float[Tensor, " 3"] | None = None,
    supersample: int = 2,
) -> Rendering:
    """Draw a mesh from every camera with `supersample` x `supersample` samples a pixel (box filter, in sRGB).

    Colors come from the texture (bilinear), the faces or the vertices, whichever the mesh has first, else white; they
    are shown as they are unless `light`, a direction towards a lamp in world axes, is given. The background is black
    by default. Both sides of a face are seen; normals are those of the flat faces, turned towards the camera. A face
    that reaches behind the camera is dropped whole. Results are on the CPU.
    """
    if supersample < 1:
        raise BadInput(f"supersample is {supersample}; expected 1 or more samples along each side", "the default is 2")
    if background is None:
        background = torch.zeros(3)
    mesh, camera = mesh.to("cpu"), camera.to("cpu").to(torch.float32)
    fine = camera.resized(camera.height * supersample, camera.width * supersample)
    group = max(1, SAMPLES_AT_ONCE // (fine.height * fine.width))
    parts = [
        _draw(mesh, fine[start : start + group], background, light, supersample)
        for start in range(0, len(camera), group)
    ]
    if not parts:
        empty = torch.zeros(0, camera.height, camera.width)
        return Rendering(color=empty[..., None].expand(-1, -1, -1, 3), alpha=empty, depth=empty)
    color, alpha, depth, normal = (torch.cat(part) for part in zip(*parts, strict=True))
    return Rendering(color=color, alpha=alpha, depth=depth, normal=normal)


def _draw(
    mesh: Mesh, fine: Camera, background: Tensor, light: Tensor | None, supersample: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    index, depth, barycentric = rasterize(
        mesh.vertices, mesh.faces, camera_from_world=fine.camera_from_world, focal_px=fine.focal_px,
        center_px=fine.center_px, height=fine.height, width=fine.width,
    )  # fmt: skip
    hit = index >= 0
    face, weights = index[hit].long(), barycentric[hit]
    ray = normalize((mesh.vertices[mesh.faces[face]] * weights[..., None]).sum(1) - fine.position[hit.nonzero()[:, 0]])
    facing = mesh.face_normals()[face]
    facing = torch.where((facing * ray).sum(-1, keepdim=True) > 0, -facing, facing)
    seen = surface_color(mesh, face, weights)
    if light is not None:
        towards = facing @ normalize(light.to(facing))
        shade = AMBIENT + SKY * (0.5 + 0.5 * facing[:, 1]) + KEY * towards.clamp(min=0)
        seen = (seen * shade[:, None]).clamp(max=1)

    color = background.to(seen).expand(*index.shape, 3).clone()
    normal = torch.zeros_like(color)
    color[hit], normal[hit] = seen, facing
    alpha = _box(hit.to(depth), supersample)
    depth = _box(depth, supersample) / alpha.clamp(min=torch.finfo(depth.dtype).tiny)  # 0 where nothing was hit
    return _box(color, supersample), alpha, depth, _box(normal, supersample)


def _box(image: Tensor, supersample: int) -> Tensor:
    """Average blocks of samples; a third and further axis is kept."""
    cameras, height, width, *rest = image.shape
    blocks = image.reshape(cameras, height // supersample, supersample, width // supersample, supersample, *rest)
    return blocks.mean((2, 4))
