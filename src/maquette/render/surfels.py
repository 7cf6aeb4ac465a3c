"""Pictures of surfel clouds: unpacks the raw parameters for the splatting kernel. Knows nothing of losses."""

from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.rotation import normalize
from maquette.kernels.splat2d import rasterize
from maquette.kernels.splat3d.spherical_harmonics import sh_to_color
from maquette.render.rendering import Rendering
from maquette.representations.surfels import SurfelCloud


def render_surfels(
    surfels: SurfelCloud,
    camera: Camera,
    *,
    background: Float[Tensor, " 3"] | Float[Tensor, "cameras 3"] | None = None,
    backend: str = "auto",
) -> Rendering:
    """Splat a cloud into every camera, differentiably; black behind it if no background is given.

    The rendering has all of color, alpha, depth, normal, median depth and distortion; they cost one pass together.
    `kernels.splat2d.rasterize` states rules and errors.
    """
    colors = surfels.rgb
    if surfels.sh.shape[1] > 1:
        colors = sh_to_color(surfels.sh, normalize(surfels.means - camera.position[:, None]))
    images = rasterize(
        surfels.means,
        surfels.quats,
        surfels.scales,
        surfels.opacities,
        colors,
        camera_from_world=camera.camera_from_world,
        focal_px=camera.focal_px,
        center_px=camera.center_px,
        height=camera.height,
        width=camera.width,
        background=surfels.means.new_zeros(3) if background is None else background,
        backend=backend,
    )
    return Rendering(**images._asdict())
