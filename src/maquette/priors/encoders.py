"""Image and text encoders: the pocket pair (one that guides, one that judges) behind the `Encoder` protocol."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.priors.multiview import MAX_WORDS, fast_dtype, quiet_loading

POCKET = Path(__file__).parent.parent / "pocket"


class PocketEncoder:
    """`Encoder` over two small towers; images of any size are resized to `image_size` with antialiasing."""

    image_size = 128

    def __init__(self, towers, tokenizer, name: str):
        self.towers, self.tokenizer, self.name = towers, tokenizer, name

    def embed_image(self, images: Float[Tensor, "n height width 3"]) -> Float[Tensor, "n embedding"]:
        """Unit vectors of sRGB images in [0, 1]; differentiable."""
        return self.towers.image(self._pixels(images))

    @torch.no_grad()
    def embed_text(self, prompts: list[str]) -> Float[Tensor, "n embedding"]:
        """Unit vectors of sentences."""
        tokens = self.tokenizer(
            prompts, padding="max_length", truncation=True, max_length=MAX_WORDS, return_tensors="pt"
        )
        device = self.towers.log_scale.device
        return self.towers.words(tokens["input_ids"].to(device), tokens["attention_mask"].to(device))

    def features(self, images: Float[Tensor, "n height width 3"]) -> list[Float[Tensor, "n c h w"]]:
        """Feature maps of the image tower, shallow to deep (32, 32, 16, 8 px a side for 128 px); differentiable.

        The deepest stage is left out: it names things and no longer says where they are.
        """
        vision = self.towers.vision
        maps = [vision.embedder(self._pixels(images))]
        for stage in vision.encoder.stages[:-1]:
            maps.append(stage(maps[-1]))
        return [m.float() for m in maps]

    def _pixels(self, images: Tensor) -> Tensor:
        pixels = images.to(self.towers.log_scale.device).movedim(-1, 1) * 2 - 1
        if pixels.shape[-1] != self.image_size or pixels.shape[-2] != self.image_size:
            pixels = torch.nn.functional.interpolate(pixels, (self.image_size,) * 2, mode="bilinear", antialias=True)
        return pixels.to(self.towers.vision.dtype).contiguous(memory_format=torch.channels_last)


def load_encoder(folder: Path | str = POCKET / "encoder", *, device: str | torch.device = "cpu") -> PocketEncoder:
    """The encoder that may guide: perceptual losses, features, understanding of pictures."""
    from transformers import CLIPTextModelWithProjection, PreTrainedTokenizerFast, ResNetModel

    from maquette.models.encoder import TwoTowers

    folder = Path(folder)
    if not (folder / "vision").is_dir():
        raise BadInput(f"{folder} holds no vision tower", "reinstall maquette, or train it: maquette train encoder")
    with quiet_loading():
        vision = ResNetModel.from_pretrained(folder / "vision", dtype=fast_dtype(torch.device(device)))
        text = CLIPTextModelWithProjection.from_pretrained(folder / "text", dtype=torch.float32)
    _fold_normalization(vision.eval())
    towers = TwoTowers(vision, text).eval().requires_grad_(False).to(device)
    towers.vision.to(memory_format=torch.channels_last)
    return PocketEncoder(towers, PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer"), folder.name)


def _fold_normalization(vision: torch.nn.Module) -> None:
    """Multiply each batch norm, which no longer learns, into the convolution before it: half the memory traffic."""
    for part in vision.modules():
        norm = getattr(part, "normalization", None)
        if isinstance(norm, torch.nn.BatchNorm2d):
            part.convolution = torch.nn.utils.fuse_conv_bn_eval(part.convolution, norm)
            part.normalization = torch.nn.Identity()


def load_judge(*, device: str | torch.device = "cpu") -> PocketEncoder:
    """The second encoder, of another seed, which only measures."""
    return load_encoder(POCKET / "judge", device=device)


def load_elevation(encoder: PocketEncoder, folder: Path | str = POCKET / "elevation"):
    """A function from pictures (n, height, width, 3) on white to the elevation in degrees they are seen from (their
    mean)."""
    from maquette.models.elevation import ElevationRegressor, picture_features

    regressor = ElevationRegressor.from_pretrained(folder, torch_dtype=torch.float32, low_cpu_mem_usage=False).eval()

    @torch.no_grad()
    def estimate(images: Float[Tensor, "n height width 3"]) -> float:
        return float(regressor(picture_features(encoder.towers, encoder._pixels(images)).cpu()).mean().rad2deg())

    return estimate


def load_point_encoder(folder: Path | str = POCKET / "points", *, device: str | torch.device = "cpu"):
    """A `PointEncoder`: its `embed` takes clouds (n, points, 3) to the features that P-FID and P-KID are measured in.

    It only measures, and what it says is for surface points of any number; it was taught with 1024.
    """
    from maquette.models.point_encoder import PointEncoder

    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise BadInput(
            f"{folder} holds no point encoder", "reinstall maquette, or train it: maquette train point_encoder"
        )
    net = PointEncoder.from_pretrained(folder, torch_dtype=torch.float32, low_cpu_mem_usage=False)
    return net.eval().requires_grad_(False).to(device)
