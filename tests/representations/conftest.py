"""Small meshes with known properties, and with known defects."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from maquette.representations.mesh import Mesh

CORNERS = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]])
CUBE = np.array([
    [0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4],
    [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7],
])  # fmt: skip


def as_mesh(vertices, faces, **colors) -> Mesh:
    """A Mesh of arrays."""
    return Mesh(torch.as_tensor(np.asarray(vertices)).float(), torch.as_tensor(np.asarray(faces)).long(), **colors)


def cube() -> Mesh:
    """The unit cube, outward."""
    return as_mesh(CORNERS, CUBE)


def ring(count, width=0.3, half_turns=0) -> Mesh:
    """A strip around the vertical axis, twisted by half turns: odd ones make it one-sided."""
    angle = np.arange(count) * (2 * np.pi / count)
    tilt = angle * half_turns / 2
    out = np.stack([np.cos(angle), np.zeros(count), np.sin(angle)], 1)
    across = np.cos(tilt)[:, None] * np.array([0, 1.0, 0]) + np.sin(tilt)[:, None] * out
    vertices = np.concatenate([out + width * across, out - width * across])
    faces = []
    for i in range(count):
        a, b = i, i + count
        c, d = (i + 1) % count, (i + 1) % count + count
        if i == count - 1 and half_turns % 2:
            c, d = d, c
        faces += [[a, b, d], [a, d, c]]
    return as_mesh(vertices, faces)


def ball(rings=16, radius=0.4) -> Mesh:
    """A closed sphere of latitudes and longitudes, outward."""
    sides = 2 * rings
    vertices, faces = [[0, -radius, 0]], []
    for level in range(1, rings):
        polar = np.pi * level / rings
        for k in range(sides):
            angle = 2 * np.pi * k / sides
            ring_radius = radius * np.sin(polar)
            vertices.append([ring_radius * np.sin(angle), -radius * np.cos(polar), ring_radius * np.cos(angle)])
    vertices.append([0, radius, 0])
    top = len(vertices) - 1
    for k in range(sides):
        after = (k + 1) % sides
        faces.append([0, 1 + after, 1 + k])
        faces.append([top, top - sides + k, top - sides + after])
        for level in range(rings - 2):
            a, b = 1 + level * sides + k, 1 + level * sides + after
            faces += [[a, b, b + sides], [a, b + sides, a + sides]]
    return as_mesh(vertices, faces)


def torus(large=0.33, small=0.12, around=24, across=12) -> Mesh:
    """A ring, outward."""
    u, v = (part.ravel() for part in np.meshgrid(
        np.arange(around) * 2 * np.pi / around, np.arange(across) * 2 * np.pi / across, indexing="ij"
    ))  # fmt: skip
    radius = large + small * np.cos(v)
    vertices = np.stack([radius * np.sin(u), small * np.sin(v), radius * np.cos(u)], 1)
    faces = []
    for i in range(around):
        for j in range(across):
            a, b = i * across + j, ((i + 1) % around) * across + j
            c, d = i * across + (j + 1) % across, ((i + 1) % around) * across + (j + 1) % across
            faces += [[a, b, d], [a, d, c]]
    return as_mesh(vertices, faces)


def joined(*meshes) -> Mesh:
    """All of them in one list of faces, sharing nothing."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    faces = [mesh.faces + int(offset) for mesh, offset in zip(meshes, offsets, strict=True)]
    return Mesh(torch.cat([mesh.vertices for mesh in meshes]), torch.cat(faces))


def moved(mesh, *offset) -> Mesh:
    """The mesh somewhere else."""
    return Mesh(mesh.vertices + torch.tensor(offset), mesh.faces)


@pytest.fixture(scope="session")
def shapes() -> SimpleNamespace:
    """The functions of this file by name."""
    return SimpleNamespace(as_mesh=as_mesh, cube=cube, ring=ring, ball=ball, torus=torus, joined=joined, moved=moved)
