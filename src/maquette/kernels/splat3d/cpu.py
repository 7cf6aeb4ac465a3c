"""The fast twin on the CPU: Numba kernels behind one autograd function. float32 only; same input, same bytes."""

import torch
from torch import Tensor

from maquette.core.errors import Unsupported
from maquette.core.rotation import normalize, quat_to_matrix
from maquette.kernels.splat3d import Rasterized, cpu_blend, cpu_project
from maquette.kernels.splat3d.reference import facing_normals
from maquette.kernels.splat3d.spherical_harmonics import C0, sh_to_color
from maquette.kernels.splat3d.workers import spread


def rasterize(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, sh: Tensor,
    camera_from_world: Tensor, focal_px: Tensor, center_px: Tensor, background: Tensor, height: int, width: int,
    screen_probe: Tensor | None, normals: bool,
) -> Rasterized:  # fmt: skip
    """See `maquette.kernels.splat3d.rasterize`, which checks and fills in the arguments."""
    if means.dtype != torch.float32 or means.is_cuda:
        raise Unsupported(
            f"the cpu backend got {means.dtype} on {means.device}", "backend='reference' takes any float type"
        )
    if any(tensor.requires_grad for tensor in (camera_from_world, focal_px, center_px, background)):
        raise Unsupported("the cpu backend has no gradients of cameras and backgrounds", "use backend='reference'")
    eyes = -(camera_from_world[:, :3, :3].mT @ camera_from_world[:, :3, 3:]).squeeze(-1)
    colors = (0.5 + C0 * sh[:, 0]).clamp(min=0.0)[None]
    if sh.shape[1] > 1:
        colors = sh_to_color(sh, normalize(means - eyes[:, None]))
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


class _Splat(torch.autograd.Function):
    """Project, sort into tiles, blend. The geometry and the order of blending are shared by color and normals."""

    @staticmethod
    def forward(ctx, means, quats, scales, opacities, colors, probe, facing, cameras, background, size):
        views, n = len(cameras), len(means)
        image = (views, n, *size)
        geometry = [tensor.detach().contiguous() for tensor in (means, quats, scales, opacities)]
        flat = [_flat(tensor) for tensor in geometry]
        probe_values = _flat(torch.empty(0) if probe is None else probe)
        splats = torch.empty(views, -(-n // cpu_project.WIDTH) * cpu_project.WIDTH, cpu_project.ROW)
        shades = _flat(colors)
        spread(
            cpu_project.project, -(-n // (cpu_project.WIDTH * cpu_project.BLOCKS_PER_JOB)),
            *flat[:3], _flat(torch.log2(geometry[3])), shades, _flat(cameras), probe_values, _flat(splats),
        )  # fmt: skip
        lists = _sort_into_tiles(splats, image)
        layers = [_blend(splats, lists, image, background)]
        if facing is not None:
            turned = splats.clone()
            turned[:, :n, cpu_project.RED : cpu_project.BLUE + 1] = facing
            layers.append(_blend(turned, lists, image, torch.zeros_like(background)))
        boxes = splats[:, :n, cpu_project.HALF_X : cpu_project.HALF_Y + 1]
        radii = boxes.amax(dim=-1) * (lists["slot_count"] > 0)

        ctx.set_materialize_grads(True)
        ctx.image, ctx.lists, ctx.layers = image, lists, layers
        ctx.shapes = colors.shape, None if probe is None else probe.shape
        ctx.save_for_backward(*geometry, cameras, background)
        ctx.mark_non_differentiable(radii)
        color, alpha, depth = layers[0]["images"]
        normal = layers[1]["images"][0] if facing is not None else color.new_empty(0)
        return color, alpha, depth, radii, normal

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_color, d_alpha, d_depth, _, d_normal):
        *geometry, cameras, background = ctx.saved_tensors
        color_shape, probe_shape = ctx.shapes
        first = (ctx.layers[0], color_shape, d_color, d_alpha, d_depth, background)
        grads = _gradients(ctx, geometry, cameras, probe_shape, *first)
        d_facing = None
        if len(ctx.layers) > 1:
            shape = (*ctx.image[:2], 3)
            nothing = torch.zeros_like(d_alpha)
            second = (ctx.layers[1], shape, d_normal, nothing, nothing, torch.zeros_like(background))
            *more, d_facing, more_probe = _gradients(ctx, geometry, cameras, probe_shape, *second)
            grads = [a if b is None else a + b for a, b in zip(grads, (*more, None, more_probe), strict=True)]
        return *grads, d_facing, None, None, None


def _flat(tensor):
    return tensor.detach().contiguous().view(-1).numpy()


def _sort_into_tiles(splats, image):
    """For every tile of every camera the list of splats that may touch it, front to back."""
    views, n, height, width = image
    tiles = -(-width // cpu_blend.TILE) * -(-height // cpu_blend.TILE)
    order, boxes = torch.empty(views * n, dtype=torch.int32), torch.empty(views * n * 4, dtype=torch.int16)
    slot_first, slot_count = torch.empty(views, n, dtype=torch.int32), torch.empty(views, n, dtype=torch.int32)
    tile_count, seen = torch.zeros(views * tiles, dtype=torch.int64), torch.empty(views, dtype=torch.int64)
    spread(
        cpu_blend.sort, views, _flat(splats), _flat(splats.view(torch.int32)).view("uint32"), n, views, height, width,
        _flat(order), _flat(boxes), _flat(slot_first), _flat(slot_count), _flat(tile_count), _flat(seen),
    )  # fmt: skip
    tile_first = torch.nn.functional.pad(tile_count.cumsum(0), (1, 0))
    pairs = torch.empty(int(tile_first[-1]), dtype=torch.int32)
    spread(
        cpu_blend.fill, views, _flat(order), _flat(seen), n, views, height, width,
        _flat(boxes), _flat(tile_first), _flat(slot_first), _flat(pairs),
    )  # fmt: skip
    return {
        "pairs": pairs,
        "tile_first": tile_first,
        "boxes": boxes,
        "slot_first": slot_first,
        "slot_count": slot_count,
    }


def _blend(splats, lists, image, background):
    """Images of all cameras, and what the backward pass needs to know of every tile."""
    views, _, height, width = image
    jobs = len(lists["tile_first"]) - 1
    state = torch.empty(jobs, cpu_blend.STATE)
    masks, visited = torch.empty(len(lists["pairs"]), dtype=torch.int16), torch.empty(jobs, dtype=torch.int32)
    color = torch.empty(views, height, width, 3)
    alpha, depth = torch.empty(views, height, width), torch.empty(views, height, width)
    spread(
        cpu_blend.forward, jobs, _flat(splats), views, height, width, _flat(lists["pairs"]), _flat(lists["tile_first"]),
        _flat(background), _flat(state), _flat(masks).view("uint16"), _flat(visited),
        _flat(color), _flat(alpha), _flat(depth),
    )  # fmt: skip
    return {"splats": splats, "state": state, "masks": masks, "visited": visited, "images": (color, alpha, depth)}


def _gradients(ctx, geometry, cameras, probe_shape, layer, color_shape, d_color, d_alpha, d_depth, background):
    """Gradients of means, quats, scales, opacities, colors and probe through one layer of images."""
    views, n, height, width = ctx.image
    lists, splats = ctx.lists, layer["splats"]
    partials = torch.empty(len(lists["pairs"]), cpu_project.ROW)
    spread(
        cpu_blend.backward, len(lists["tile_first"]) - 1, _flat(splats), views, height, width, _flat(lists["pairs"]),
        _flat(lists["tile_first"]), _flat(background), _flat(layer["state"]), _flat(layer["masks"]).view("uint16"),
        _flat(layer["visited"]), n, _flat(lists["boxes"]), _flat(lists["slot_first"]),
        _flat(d_color), _flat(d_alpha), _flat(d_depth), _flat(partials),
    )  # fmt: skip
    grads = [torch.empty_like(tensor) for tensor in geometry]
    grads += [torch.empty(color_shape), torch.empty(probe_shape or 0)]
    spread(
        cpu_project.project_backward, -(-n // (cpu_project.WIDTH * cpu_project.BLOCKS_PER_JOB)),
        *(_flat(tensor) for tensor in geometry), _flat(cameras), _flat(splats), _flat(lists["slot_first"]),
        _flat(lists["slot_count"]), _flat(partials), *(_flat(tensor) for tensor in grads),
    )  # fmt: skip
    return [*grads[:5], grads[5] if probe_shape else None]
