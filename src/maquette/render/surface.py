"""Pictures of meshes with gradients: to vertices, inside of faces and along silhouettes, and to whatever colors them.

The differentiable twin of `render.mesh`: one sample a pixel, and silhouettes blended by how they cover pixels.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.rotation import normalize
from maquette.kernels.triangle import antialias, interpolate, rasterize
from maquette.render.rendering import Rendering
from maquette.representations.mesh import Mesh
from maquette.representations.surface import surface_color

Color = Callable[[Float[Tensor, "points 3"]], Float[Tensor, "points 3"]]
"""World points to sRGB albedo."""
Shade = Callable[
    [Float[Tensor, "points 3"], Float[Tensor, "points 3"], Float[Tensor, "points 3"], Int[Tensor, " points"]],
    Float[Tensor, "points 3"],
]
"""Albedo, unit normals, world points and the number of the camera to sRGB, such as `render.shading.Shading`."""


def render_surface(
    mesh: Mesh,
    camera: Camera,
    *,
    color: Color | None = None,
    shade: Shade | None = None,
    background: Float[Tensor, " 3"]
    | Float[Tensor, "cameras 3"]
    | Float[Tensor, "cameras height width 3"]
    | None = None,
    smooth: bool = True,
) -> Rendering:
    """Draw a mesh from every camera, differentiably in its vertices, in `color` and in the mesh's own colors.

    `color` is asked for the albedo of the points that pixels see; without it they have the color of the mesh, or
    white. `shade` makes the picture from it; without it the albedo is shown. Black behind it by default. Normals point
    outward in world axes, `smooth` ones are interpolated between vertices; vertices must be shared by their faces. The
    vertices move pictures through silhouettes, depth, normals and the points that `color` is asked for; colors of the
    mesh itself stay where they are on the screen. Cameras are constants. A face that reaches behind the camera is
    dropped whole. An empty mesh gives the background, without gradients.
    """
    lens = {"camera_from_world": camera.camera_from_world, "focal_px": camera.focal_px, "center_px": camera.center_px}
    lens = {name: value.to(mesh.vertices) for name, value in lens.items()}
    index, z_buffer, barycentric = rasterize(
        mesh.vertices.detach(), mesh.faces, **lens, height=camera.height, width=camera.width
    )
    index, z_buffer, barycentric = (x.to(mesh.vertices.device) for x in (index, z_buffer, barycentric))
    hit = index >= 0
    view = hit.nonzero()[:, 0]
    corner_normals = vertex_normals(mesh) if smooth else torch.zeros_like(mesh.vertices)
    seen = interpolate(torch.cat([mesh.vertices, corner_normals], 1), mesh.vertices, mesh.faces, index, **lens)[hit]
    points, normals = seen[:, :3], normalize(seen[:, 3:])
    if not smooth:
        normals = mesh.face_normals()[index[hit].long()]
    if color is None:
        shown = surface_color(mesh, index[hit].long(), barycentric[hit].to(mesh.vertices))
    else:
        shown = color(points)
    if shade is not None:
        shown = shade(shown, normals, points, view)
    depth = (points * lens["camera_from_world"][view, 2, :3]).sum(-1) + lens["camera_from_world"][view, 2, 3]

    values = torch.cat([shown, torch.ones_like(depth)[:, None], depth[:, None], normals], dim=-1)
    sharp = values.new_zeros(*index.shape, 8).masked_scatter(hit[..., None].expand(*index.shape, 8), values)
    image = antialias(sharp, mesh.vertices, mesh.faces, index, z_buffer.to(mesh.vertices), **lens)
    alpha = image[..., 3]
    if background is None:
        background = image.new_zeros(3)
    if background.ndim == 2:
        background = background[:, None, None]
    return Rendering(
        color=image[..., :3] + (1 - alpha)[..., None] * background.to(image),
        alpha=alpha,
        depth=image[..., 4] / torch.where(alpha > 0, alpha, 1.0),
        normal=image[..., 5:],
    )


def vertex_normals(mesh: Mesh) -> Float[Tensor, "vertices 3"]:
    """Unit normals of the vertices, faces weighted by area; differentiable. Zero where no face has an area.

    `Mesh.vertex_normals` also joins vertices at the same place, which takes longer than all the rest of a step.
    """
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    doubled_areas = torch.linalg.cross(b - a, c - a)
    spread = doubled_areas.repeat_interleave(3, dim=0)
    return normalize(torch.zeros_like(mesh.vertices).index_add(0, mesh.faces.reshape(-1), spread))
