"""The fast twin on the CPU: Numba kernels behind one autograd function. float32 only; same input, same bytes."""

import numpy as np
import torch
from torch import Tensor

from maquette.core.lanes import WIDTH
from maquette.core.splat import check_for_cpu
from maquette.core.splat.columns import ROW, jobs
from maquette.core.splat.tiles import partials_for
from maquette.core.workers import flat, spread
from maquette.kernels.splat2d import Rasterized, cpu_blend, cpu_project, cpu_tiles


def rasterize(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor,
    camera_from_world: Tensor, focal_px: Tensor, center_px: Tensor, background: Tensor, height: int, width: int,
) -> Rasterized:  # fmt: skip
    """See `maquette.kernels.splat2d.rasterize`, which checks and fills in the arguments."""
    check_for_cpu(means, camera_from_world, focal_px, center_px, background)
    pose = camera_from_world
    cameras = torch.cat([pose[:, :3, :3].flatten(1), pose[:, :3, 3], focal_px, center_px], dim=1).contiguous()
    return Rasterized(
        *_Splat.apply(means, quats, scales, opacities, colors, cameras, background.contiguous(), (height, width))
    )


class _Splat(torch.autograd.Function):
    """Project, sort into tiles, blend."""

    @staticmethod
    def forward(ctx, means, quats, scales, opacities, colors, cameras, background, size):
        views, n, (height, width) = len(cameras), len(means), size
        geometry = [tensor.detach().contiguous() for tensor in (means, quats, scales, opacities)]
        with np.errstate(divide="ignore"):  # numpy rather than torch, which wakes all threads for this
            log2_opacities = np.log2(flat(opacities))
        padded = -(-n // WIDTH) * WIDTH
        splats, looks = (torch.empty(views, padded, ROW) for _ in range(2))
        outlines = torch.empty(views, n, 4)
        spread(
            cpu_project.project, jobs(n), *map(flat, geometry[:3]), log2_opacities, flat(colors),
            flat(cameras), flat(splats), flat(looks), flat(outlines),
        )  # fmt: skip
        lists = cpu_tiles.lists(splats, outlines, height, width)
        tiles = len(lists.tile_first) - 1
        state, visited = torch.empty(tiles, cpu_blend.STATE), torch.empty(tiles, dtype=torch.int32)
        masks = torch.empty(len(lists.pairs), dtype=torch.int32)
        color, normal = (torch.empty(views, height, width, 3) for _ in range(2))
        alpha, depth, median, distortion = (torch.empty(views, height, width) for _ in range(4))
        images = (color, alpha, depth, median, normal, distortion)
        spread(
            cpu_blend.forward, tiles, flat(splats), flat(looks), views, height, width, flat(lists.pairs),
            flat(lists.tile_first), flat(background), flat(state), flat(masks), flat(visited), *map(flat, images),
        )  # fmt: skip
        # None of these is an input or an output, so keeping them on ctx makes no cycle and hides no change in place.
        ctx.lists, ctx.kept = lists, (splats, looks, state, masks, visited)
        ctx.image, ctx.color_shape = (views, n, height, width), colors.shape
        ctx.save_for_backward(*geometry, cameras, background)
        ctx.set_materialize_grads(False)  # filling zeros for images that no loss looks at can cost more than the rest
        return images

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *d_images):
        *geometry, cameras, background = ctx.saved_tensors
        views, n, height, width = ctx.image
        pairs, tile_first, boxes, slot_first, slot_count = map(flat, ctx.lists)
        splats, looks, state, masks, visited = map(flat, ctx.kept)
        d_images = [np.empty(0, np.float32) if image is None else flat(image) for image in d_images]
        partials = flat(partials_for(len(pairs)))
        spread(
            cpu_blend.backward, len(visited), splats, looks, views, height, width, pairs, tile_first,
            flat(background), state, masks, visited, n, boxes, slot_first, *d_images, partials,
        )  # fmt: skip
        grads = [torch.empty_like(tensor) for tensor in geometry] + [torch.empty(ctx.color_shape)]
        spread(
            cpu_project.project_backward, jobs(n), *map(flat, geometry), flat(cameras),
            slot_first, slot_count, partials, *map(flat, grads),
        )  # fmt: skip
        return *grads, None, None, None
