"""Pictures of Gaussian clouds: unpacks the raw parameters for the splatting kernel. Knows nothing of losses."""

from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.kernels.splat3d import rasterize
from maquette.render.rendering import Rendering
from maquette.representations.gaussians import GaussianCloud


def render_gaussians(
    cloud: GaussianCloud,
    camera: Camera,
    *,
    background: Float[Tensor, " 3"] | Float[Tensor, "cameras 3"] | None = None,
    probe: bool = False,
    normals: bool = False,
    backend: str = "auto",
) -> Rendering:
    """Splat a cloud into every camera, differentiably; black behind it if no background is given.

    `probe` adds zeros to the projected means whose gradient (pixels) density control reads from
    `rendering.screen_probe.grad`; `normals` costs a second pass. `kernels.splat3d.rasterize` states rules and errors.
    """
    if background is None:
        background = cloud.means.new_zeros(3)
    screen_probe = cloud.means.new_zeros(len(camera), len(cloud), 2).requires_grad_() if probe else None
    images = rasterize(
        cloud.means,
        cloud.quats,
        cloud.scales,
        cloud.opacities,
        cloud.sh,
        camera_from_world=camera.camera_from_world,
        focal_px=camera.focal_px,
        center_px=camera.center_px,
        height=camera.height,
        width=camera.width,
        background=background,
        screen_probe=screen_probe,
        normals=normals,
        backend=backend,
    )
    return Rendering(*images, screen_probe=screen_probe)
