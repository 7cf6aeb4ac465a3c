"""Contact sheets: pictures keep their pixels, labels are under them."""

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.io.sheet import contact_sheet


def test_pictures_lie_in_rows_with_their_pixels():
    images = (torch.rand(5, 10, 12, 3) * 255).round() / 255
    sheet = contact_sheet(images, columns=3)
    assert sheet.shape == (2 * 14 + 4, 3 * 16 + 4, 3)
    assert torch.allclose(sheet[4:14, 4:16], images[0])
    assert torch.allclose(sheet[4:14, 36:48], images[2])
    assert torch.allclose(sheet[18:28, 20:32], images[4])
    assert torch.equal(sheet[18:28, 36:48], torch.ones(10, 12, 3))  # no sixth picture


def test_labels_are_drawn_below_and_cut_to_the_width():
    images = torch.zeros(2, 40, 60, 3)
    sheet = contact_sheet(images, columns=2, labels=["a red apple", "ü" * 500])
    below = sheet[44:60]
    assert below[:, 4:64].min() < 0.3  # ink
    assert below[:, 68:128].min() < 0.3
    assert below[:, 64:68].min() == 1  # nothing runs into the neighbour
    assert below[:, 128:].min() == 1
    assert contact_sheet(images[:1], columns=9).shape == (48, 68, 3)


@pytest.mark.parametrize(("count", "columns", "labels"), [(0, 1, None), (2, 0, None), (2, 2, ["one"])])
def test_what_makes_no_sheet_is_refused(count, columns, labels):
    with pytest.raises(BadInput):
        contact_sheet(torch.rand(count, 4, 4, 3), columns, labels)
