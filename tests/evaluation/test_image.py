"""Closed forms."""

import pytest
import torch

from maquette.evaluation.image import psnr, silhouette_iou


def test_psnr_of_a_constant_difference():
    a = torch.full((2, 5, 7, 3), 0.5)
    b = a.clone()
    b[0] += 0.1
    assert psnr(a, b)[0].item() == pytest.approx(20.0, abs=1e-4)
    assert psnr(a, b)[1].item() == float("inf")


def test_iou_counts_pixels():
    a, b = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)
    a[0, :2], b[0, 1:3] = 1.0, 0.6  # rows 0-1 and 1-2: 4 of 12 pixels
    a[1] = 0.5  # not above the threshold
    assert silhouette_iou(a, b).tolist() == pytest.approx([1 / 3, 1.0, 1.0])
    b[2, 0, 0] = 1.0
    assert silhouette_iou(a, b)[2].item() == 0.0
