"""Contact sheets: many pictures in one, with a line of text under each. Where to look first when pixels are made."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.io.image import to_bytes

_GAP_PX = 4


def contact_sheet(
    images: Float[Tensor, "images height width 3"], columns: int = 4, labels: Sequence[str] | None = None
) -> Float[Tensor, "sheet_height sheet_width 3"]:
    """Pictures row by row on white, `columns` in a row, `labels` (one for each) below them in Pillow's own font.

    A label wider than its picture is cut. Raises BadInput for no picture, no column, or a wrong number of labels.
    """
    if len(images) == 0 or columns < 1:
        raise BadInput(f"{len(images)} pictures in {columns} columns; expected at least one of each", "give some")
    if labels is not None and len(labels) != len(images):
        raise BadInput(f"{len(labels)} labels for {len(images)} pictures", "give one label for each, or none")
    height, width = images.shape[1:3]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    font = ImageFont.load_default(size=12)
    text_height = 16 if labels is not None else 0
    cell_height, cell_width = height + text_height + _GAP_PX, width + _GAP_PX
    sheet = Image.new("RGB", (columns * cell_width + _GAP_PX, rows * cell_height + _GAP_PX), "white")
    draw = ImageDraw.Draw(sheet)
    for i, picture in enumerate(to_bytes(images, "a contact sheet")):
        left, top = _GAP_PX + i % columns * cell_width, _GAP_PX + i // columns * cell_height
        sheet.paste(Image.fromarray(picture), (left, top))
        if labels is not None:
            draw.text((left, top + height + 1), _fitting(labels[i], width, font), fill="black", font=font)
    return torch.from_numpy(np.array(sheet, dtype=np.float32) / 255)


def _fitting(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    text = " ".join(text.split())[:200]
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
