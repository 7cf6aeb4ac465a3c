"""Masks from clicks by a pretrained network: SAM (Kirillov et al. 2023) or SAM 2 (Ravi et al. 2024), from transformers.

The pictures are prepared here, since the processors of transformers draw on packages that we do without. Nothing here
knows what was drawn, or that a picture has a third dimension.
"""

import json
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.priors import hub
from maquette.priors.multiview import quiet_loading

WANTED = ("config.json", "*.safetensors")
KINDS = {"sam": "SamModel", "sam2": "Sam2Model", "sam2_video": "Sam2Model"}
"""`model_type` of a `config.json` -> the class in transformers; the published SAM 2 are videos' models."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as both were trained with


class Segmentor:
    """A frozen network that draws what clicks mean; `load_segmentor` makes it."""

    def __init__(self, network: torch.nn.Module, *, keeps_aspect: bool):
        self.network = network
        self.keeps_aspect = keeps_aspect
        """SAM fills a square up at the right or below; SAM 2 stretches the picture to one."""
        self.size = int(network.config.prompt_encoder_config.image_size)

    @torch.no_grad()
    def mask(
        self,
        picture: Float[Tensor, "height width 3"],
        on: tuple[tuple[float, float], ...],
        off: tuple[tuple[float, float], ...] = (),
    ) -> Bool[Tensor, "height width"]:
        """The mask that the network trusts most of its three, for clicks (column, row) on a part and off it; sRGB."""
        device = next(self.network.parameters()).device
        scale = self._scale(picture)
        points = torch.tensor([*on, *off], device=device) * torch.tensor(scale, device=device)
        labels = torch.tensor([1] * len(on) + [0] * len(off), device=device)
        answer = self.network(
            pixel_values=self.pixels(picture).to(device),
            input_points=points[None, None],
            input_labels=labels[None, None],
            multimask_output=True,
        )
        best = int(answer.iou_scores[0, 0].argmax())
        logits = answer.pred_masks[0, 0, best].float()[None, None]
        square = torch.nn.functional.interpolate(logits, (self.size, self.size), mode="bilinear")
        height, width = self._inner(picture)
        full = torch.nn.functional.interpolate(square[..., :height, :width], picture.shape[:2], mode="bilinear")
        return (full[0, 0] > 0).cpu()

    def pixels(self, picture: Float[Tensor, "height width 3"]) -> Float[Tensor, "1 3 size size"]:
        """A picture as the network reads it: resized, normalised, and filled up with zeros."""
        height, width = self._inner(picture)
        planes = picture.detach().float().cpu().movedim(-1, 0)[None]
        resized = torch.nn.functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
        return torch.nn.functional.pad((resized - mean) / std, (0, self.size - width, 0, self.size - height))

    def _inner(self, picture: Tensor) -> tuple[int, int]:
        """Height and width of the picture in the square."""
        if not self.keeps_aspect:
            return self.size, self.size
        height, width = picture.shape[:2]
        return tuple(int(side * self.size / max(height, width) + 0.5) for side in (height, width))

    def _scale(self, picture: Tensor) -> tuple[float, float]:
        height, width = self._inner(picture)
        return width / picture.shape[1], height / picture.shape[0]


def load_segmentor(
    source: str | Path,
    *,
    revision: str | None = None,
    is_offline: bool = False,
    device: str | torch.device = "cpu",
) -> Segmentor:
    """SAM or SAM 2 in float32 from a folder, or by its hub id such as facebook/sam-vit-base, at `revision`.

    What is on this machine is used without asking the network; what is not is fetched, unless `is_offline`. Raises
    `BadInput` that says what is missing and how to get it.
    """
    import transformers

    folder = _folder(source, revision, is_offline)
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder / 'config.json'} names no model", "copy it again") from error
    if kind not in KINDS:
        raise BadInput(f"{source} is a {kind}, which draws no masks from clicks", f"choose one of {', '.join(KINDS)}")
    try:
        with quiet_loading():
            network, told = getattr(transformers, KINDS[kind]).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
    except OSError as error:
        raise BadInput(
            f"{source} has no weights in safetensors: {str(error).strip().splitlines()[0]}",
            "choose a revision that has them; pickled weights are refused, since loading them runs code",
        ) from error
    missing = sorted(told["missing_keys"])
    if missing:  # the library would go on with random numbers
        raise BadInput(f"{source} lacks {len(missing)} weights, {missing[0]} among them", "copy it again")
    return Segmentor(network.eval().requires_grad_(False).to(device), keeps_aspect=kind == "sam")


def _folder(source: str | Path, revision: str | None, is_offline: bool) -> Path:
    """Where `config.json` and the weights are, fetched if need be."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BadInput(f"{source} holds no config.json", "give the folder of a SAM or SAM 2, or a hub id")
        return folder
    source = str(source)
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise BadInput(f"{source} is neither a folder nor a hub id such as facebook/sam-vit-base", "check the path")
    cached = hub.in_cache(source, revision)
    if cached is not None and (cached / "config.json").is_file() and any(cached.glob("*.safetensors")):
        return cached
    if is_offline or not hub.has_network():
        pinned = f" --revision {revision}" if revision else ""
        patterns = " ".join(f"--include '{pattern}'" for pattern in WANTED)
        raise BadInput(
            f"{source} is not on this machine, and the hub cannot be asked",
            f"where there is a network: hf download {source}{pinned} {patterns}; or leave --segmentor out",
        )
    return hub.fetch(source, revision=revision, wanted=WANTED)
