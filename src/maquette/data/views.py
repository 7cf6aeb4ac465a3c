"""Training views: colour, alpha, depth and normals of a face-coloured mesh from any cameras.

Lighting is fixed to the world (a soft sky and one key light from the upper front left), so that all views of one object
agree with each other and a fitted 3D asset can carry the shading as colour.
"""

from dataclasses import dataclass

import numpy as np

from maquette.core.camera import Camera
from maquette.data.shards import CaptionedMesh

KEY_LIGHT = np.array([-0.45, 0.65, 0.61], np.float32)  # unit length, toward the light
AMBIENT, SKY, KEY = 0.56, 0.22, 0.30


@dataclass(frozen=True)
class Views:
    """rgba (c, h, w, 4) uint8: sRGB blended on white, then coverage; depth (c, h, w) float32, 0 for background;
    normal (c, h, w, 3) float32 in the world frame, facing the camera."""

    rgba: np.ndarray
    depth: np.ndarray
    normal: np.ndarray


def render_views(mesh: CaptionedMesh, camera: Camera, *, supersample: int = 2, light_turn_deg: float = 0.0) -> Views:
    """Render `mesh` from every camera with `supersample`^2 samples a pixel (box filter).

    `light_turn_deg` turns the key light about the vertical axis. Depth and normals are those of one central sample.
    """
    from maquette.kernels.triangle.cpu import rasterize_batch, resolve

    fine = camera.resized(camera.height * supersample, camera.width * supersample)
    view = np.ascontiguousarray(fine.camera_from_world.numpy(), np.float32)
    faces = np.ascontiguousarray(mesh.faces, np.int32)
    index, depth, _ = rasterize_batch(
        np.ascontiguousarray(mesh.vertices, np.float32), faces, view,
        np.ascontiguousarray(fine.focal_px.numpy(), np.float32), np.ascontiguousarray(fine.center_px.numpy(),
        np.float32),
        fine.height, fine.width,
    )  # fmt: skip
    corners = mesh.vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    eyes = camera.position.numpy().astype(np.float32)
    facing = np.einsum("cfk,fk->cf", eyes[:, None] - corners.mean(1)[None], normals)
    sign = np.where(facing < 0, -1.0, 1.0).astype(np.float32)  # thin open sheets show both sides
    turn = np.deg2rad(light_turn_deg)
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]], np.float32)
    up, key = sign * normals[:, 1], sign * (normals @ (rotation @ KEY_LIGHT))
    shade = AMBIENT + SKY * (0.5 + 0.5 * up) + KEY * np.maximum(key, 0)
    lit = np.minimum(mesh.colors[None].astype(np.float32) * shade[..., None], 255.0)

    rgba = resolve(index, np.ascontiguousarray(lit, np.float32), supersample)
    s, cameras = supersample, np.arange(len(view))[:, None, None]
    center = (slice(None), slice(s // 2, None, s), slice(s // 2, None, s))
    seen = index[center]
    normal = (normals[seen] * sign[cameras, seen][..., None]) * (seen >= 0)[..., None]  # -1 reads the last face, then 0
    return Views(rgba, depth[center], normal.astype(np.float32))
