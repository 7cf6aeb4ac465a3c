"""The fast twin on the CPU: Numba kernels behind one autograd function. float32 only; same input, same bytes."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from maquette.core.rotation import quat_to_matrix
from maquette.core.splat import check_for_cpu
from maquette.core.splat.columns import ROW, jobs
from maquette.core.splat.tiles import Lists, partials_for
from maquette.core.workers import flat, spread
from maquette.kernels.splat3d import Rasterized, cpu_blend, cpu_project, cpu_tiles
from maquette.kernels.splat3d.cpu_color import Colors, PlainColors
from maquette.kernels.splat3d.reference import facing_normals


def rasterize(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, sh: Tensor,
    camera_from_world: Tensor, focal_px: Tensor, center_px: Tensor, background: Tensor, height: int, width: int,
    screen_probe: Tensor | None, normals: bool,
) -> Rasterized:  # fmt: skip
    """See `maquette.kernels.splat3d.rasterize`, which checks and fills in the arguments."""
    check_for_cpu(means, camera_from_world, focal_px, center_px, background)
    eyes = -(camera_from_world[:, :3, :3].mT @ camera_from_world[:, :3, 3:]).squeeze(-1)
    colors = PlainColors.apply(sh) if sh.shape[1] == 1 else Colors.apply(means, sh, eyes)
    facing = facing_normals(quat_to_matrix(quats), scales, means, eyes) if normals else None
    cameras = camera_rows(camera_from_world, focal_px, center_px, height, width)
    size = (height, width)
    images = _Splat.apply(
        means, quats, scales, opacities, colors, screen_probe, facing, cameras, background.contiguous(), size
    )
    color, alpha, depth, radii, normal = images
    return Rasterized(color, alpha, depth, normal if normals else None, radii)


def camera_rows(pose: Tensor, focal: Tensor, center: Tensor, height: int, width: int) -> Tensor:
    """(cameras, 20): what `cpu_project` wants to know of a camera. The last four bound the slopes of the Jacobian."""
    size = focal.new_tensor([width, height])
    slack = 0.3 * size / (2 * focal)
    low, high = -center / focal - slack, (size - center) / focal + slack
    bounds = torch.stack([low, high], dim=-1).flatten(1)
    return torch.cat([pose[:, :3, :3].flatten(1), pose[:, :3, 3], focal, center, bounds], dim=1).contiguous()


class _Layer(NamedTuple):
    """What the backward pass needs to know of one pass of blending."""

    splats: Tensor
    state: Tensor
    masks: Tensor
    visited: Tensor


class _Splat(torch.autograd.Function):
    """Project, sort into tiles, blend. Color and normals are two layers over the same geometry and the same lists."""

    @staticmethod
    def forward(ctx, means, quats, scales, opacities, colors, probe, facing, cameras, background, size):
        views, n = len(cameras), len(means)
        image = (views, n, *size)
        geometry = [tensor.detach().contiguous() for tensor in (means, quats, scales, opacities)]
        with np.errstate(divide="ignore"):  # numpy rather than torch, which wakes all threads for this
            log2_opacities = np.log2(flat(opacities))
        splats = torch.empty(views, -(-n // cpu_project.WIDTH) * cpu_project.WIDTH, ROW)
        spread(
            cpu_project.project, jobs(n), *map(flat, geometry[:3]), log2_opacities, flat(colors), flat(cameras),
            flat(torch.empty(0) if probe is None else probe), flat(splats),
        )  # fmt: skip
        lists, radii = cpu_tiles.lists(splats, *image)
        layer, color, alpha, depth = _blend(splats, lists, image, background)
        layers, normal = [layer], color.new_empty(0)
        if facing is not None:
            turned = splats.clone()
            turned[:, :n, cpu_project.RED : cpu_project.BLUE + 1] = facing
            layer, normal, _, _ = _blend(turned, lists, image, torch.zeros_like(background))
            layers.append(layer)

        # None of these is an input or an output, so keeping them on ctx makes no cycle and hides no change in place.
        ctx.image, ctx.lists, ctx.layers, ctx.color_shape = image, lists, layers, colors.shape
        ctx.probe_shape = None if probe is None else probe.shape
        ctx.save_for_backward(*geometry, cameras, background)
        ctx.mark_non_differentiable(radii)
        ctx.set_materialize_grads(False)  # filling zeros for images that no loss looks at can cost more than the rest
        return color, alpha, depth, radii, normal

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_color, d_alpha, d_depth, _, d_normal):
        background = ctx.saved_tensors[-1]
        grads = _gradients(ctx, ctx.layers[0], ctx.color_shape, background, d_color, d_alpha, d_depth)
        if d_normal is None or len(ctx.layers) == 1:
            return *grads, None, None, None, None
        shape = (*ctx.image[:2], 3)
        more = _gradients(ctx, ctx.layers[1], shape, torch.zeros_like(background), d_normal, None, None)
        d_facing, more[4] = more[4], torch.zeros(())
        return *(a if a is None else a + b for a, b in zip(grads, more, strict=True)), d_facing, None, None, None


def _blend(
    splats: Tensor, lists: Lists, image: tuple[int, int, int, int], background: Tensor
) -> tuple[_Layer, Tensor, Tensor, Tensor]:
    views, _, height, width = image
    tiles = len(lists.tile_first) - 1
    state, visited = torch.empty(tiles, cpu_blend.STATE), torch.empty(tiles, dtype=torch.int32)
    masks = torch.empty(len(lists.pairs), dtype=torch.int32)
    color = torch.empty(views, height, width, 3)
    alpha, depth = torch.empty(views, height, width), torch.empty(views, height, width)
    spread(
        cpu_blend.forward, tiles, flat(splats), views, height, width, flat(lists.pairs), flat(lists.tile_first),
        flat(background), flat(state), flat(masks), flat(visited), flat(color), flat(alpha), flat(depth),
    )  # fmt: skip
    return _Layer(splats, state, masks, visited), color, alpha, depth


def _gradients(
    ctx,
    layer: _Layer,
    color_shape: tuple[int, ...],
    background: Tensor,
    *d_images: Tensor | None,
) -> list[Tensor | None]:
    """Gradients of means, quats, scales, opacities, colors and probe through one layer of images."""
    *geometry, cameras, _ = ctx.saved_tensors
    views, n, height, width = ctx.image
    pairs, tile_first, boxes, slot_first, slot_count = map(flat, ctx.lists)
    splats, state, masks, visited = map(flat, layer)
    d_images = [np.empty(0, np.float32) if image is None else flat(image) for image in d_images]
    partials = flat(partials_for(len(pairs)))
    spread(
        cpu_blend.backward, len(visited), splats, views, height, width, pairs, tile_first, flat(background),
        state, masks, visited, n, boxes, slot_first, *d_images, partials,
    )  # fmt: skip
    grads = [torch.empty_like(tensor) for tensor in geometry]
    grads += [torch.empty(color_shape), torch.empty(ctx.probe_shape or 0)]
    spread(
        cpu_project.project_backward, jobs(n), *map(flat, geometry), flat(cameras), splats, slot_first, slot_count,
        partials, *map(flat, grads),
    )  # fmt: skip
    return [*grads[:5], grads[5] if ctx.probe_shape else None]
