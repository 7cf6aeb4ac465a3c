"""Tiny random checkpoints, written by the pipelines of diffusers that the real ones belong to.

Classes, parts, kinds of blocks and files are those of the published folders; only widths and depths are not. Tokenizers
of CLIP are written as `vocab.json` and `merges.txt`, as they are published. Reached through the fixture `checkpoint`.
"""

import json
import shutil
import string
from pathlib import Path

import torch

LETTERS = string.ascii_lowercase + ",."


def write_sd(folder: Path, *, predicts: str = "epsilon") -> None:
    """Stable Diffusion 1.5 (eps) or 2.1 (v)."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16, attention_head_dim=2,
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=predicts,
        steps_offset=1, set_alpha_to_one=False, clip_sample=False,
    )  # fmt: skip
    StableDiffusionPipeline(
        _vae(), _clip(16), _clip_words(folder), unet, scheduler, None, None, requires_safety_checker=False
    ).save_pretrained(folder)
    _as_published(folder, "tokenizer")


def write_sdxl(folder: Path) -> None:
    """Stable Diffusion XL, base."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), transformer_layers_per_block=(1, 2), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 24,
        cross_attention_dim=16 + 24,
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    )
    StableDiffusionXLPipeline(
        _vae(0.13025), _clip(16), _clip(24, is_projected=True), _clip_words(folder), _clip_words(folder, "!"), unet,
        scheduler, add_watermarker=False,
    ).save_pretrained(folder)  # fmt: skip
    _as_published(folder, "tokenizer")
    _as_published(folder, "tokenizer_2", pad="!")


def write_pixart(folder: Path, *, kind: str = "alpha") -> None:
    """PixArt alpha at 1024 px, which is told sizes (its patches are larger here), or sigma, which is not."""
    from diffusers import (
        DPMSolverMultistepScheduler,
        PixArtAlphaPipeline,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
    )

    torch.manual_seed(0)
    is_alpha = kind == "alpha"
    transformer = PixArtTransformer2DModel(
        sample_size=128 if is_alpha else 8, patch_size=16 if is_alpha else 2, num_layers=2, attention_head_dim=8,
        num_attention_heads=3, cross_attention_dim=24, caption_channels=16, in_channels=4, out_channels=8,
    )  # fmt: skip
    with torch.no_grad():  # published, it is trained; new, its last gate is nothing
        for weight in transformer.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    scheduler = DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear")
    kinds = {"alpha": PixArtAlphaPipeline, "sigma": PixArtSigmaPipeline}
    kinds[kind](_t5_words(), _t5(), _vae(0.18215 if is_alpha else 0.13025), transformer, scheduler).save_pretrained(
        folder
    )
    if is_alpha:  # published before the class had its name
        config = json.loads((folder / "transformer" / "config.json").read_text())
        old = config | {"_class_name": "Transformer2DModel"}
        (folder / "transformer" / "config.json").write_text(json.dumps(old))


def write_if(folder: Path) -> None:
    """DeepFloyd IF, stage I."""
    from diffusers import DDPMScheduler, IFPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=3, out_channels=6, layers_per_block=1, block_out_channels=(16, 32),
        norm_num_groups=4, down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn", cross_attention_dim=32, encoder_hid_dim=16,
        attention_head_dim=8, addition_embed_type="text", addition_embed_type_num_heads=2,
        cross_attention_norm="group_norm", resnet_time_scale_shift="scale_shift", act_fn="gelu",
    )  # fmt: skip
    scheduler = DDPMScheduler(
        beta_schedule="squaredcos_cap_v2", thresholding=True, dynamic_thresholding_ratio=0.95, sample_max_value=1.5,
        variance_type="learned_range",
    )  # fmt: skip
    IFPipeline(_t5_words(), _t5(), unet, scheduler, None, None, None, requires_safety_checker=False).save_pretrained(
        folder
    )


def write_point_latent(folder: Path) -> None:
    """GaussianAnything as our recipes write it: flows and a decoder that were shaken a little, the shipped words."""
    from maquette.models.gaussian_vae import GaussianVae
    from maquette.models.point_flow import PointFlow
    from maquette.priors.multiview import POCKET

    torch.manual_seed(0)
    small = {"width": 32, "depth": 1, "heads": 1, "text_width": 256}
    flows = {"points": PointFlow(3, **small, std=[0.2] * 3), "features": PointFlow(4, **small, on_points=True)}
    for parameter in [weight for flow in flows.values() for weight in flow.parameters()]:
        torch.nn.init.normal_(parameter, std=0.05)
    vae = GaussianVae(4, width=32, heads=2, view_depth=1, decoder_depth=1, splits=(4,), level_widths=(16,))
    for name, part in (flows | {"vae": vae}).items():
        part.save_pretrained(folder / name)
    for name in ("text_encoder", "tokenizer"):
        shutil.copytree(POCKET / name, folder / name)


WRITERS = {
    "sd": write_sd,
    "sd-v": lambda folder: write_sd(folder, predicts="v_prediction"),
    "sdxl": write_sdxl,
    "pixart-alpha": write_pixart,
    "pixart-sigma": lambda folder: write_pixart(folder, kind="sigma"),
    "if": write_if,
    "gaussian-anything": write_point_latent,
}


def _vae(scaling: float = 0.18215):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(4, 8, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, scaling_factor=scaling,
    )  # fmt: skip


def _clip(width: int, *, is_projected: bool = False):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(_clip_vocabulary()), hidden_size=width, intermediate_size=32, num_hidden_layers=3,
        num_attention_heads=2, bos_token_id=0, eos_token_id=1, pad_token_id=1, projection_dim=width,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if is_projected else CLIPTextModel)(config)


def _clip_vocabulary() -> list[str]:
    return ["<|startoftext|>", "<|endoftext|>", "!", *(f"{letter}</w>" for letter in LETTERS), *LETTERS]


def _clip_words(folder: Path, pad: str = "<|endoftext|>"):
    from transformers import CLIPTokenizer

    where = folder / "words"
    _write_clip_words(where, pad)
    words = CLIPTokenizer.from_pretrained(where)
    shutil.rmtree(where)
    return words


def _as_published(folder: Path, name: str, pad: str = "<|endoftext|>") -> None:
    shutil.rmtree(folder / name)
    _write_clip_words(folder / name, pad)


def _write_clip_words(where: Path, pad: str) -> None:
    where.mkdir(parents=True)
    words = _clip_vocabulary()
    (where / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (where / "merges.txt").write_text("#version: 0.2\n")
    about = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": words[0], "eos_token": words[1],
             "unk_token": words[1], "pad_token": pad}  # fmt: skip
    (where / "tokenizer_config.json").write_text(json.dumps(about))


def _t5():
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(
        vocab_size=40, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
    ))  # fmt: skip


def _t5_words():
    from transformers import T5Tokenizer

    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*marks, *((letter, -3.0) for letter in LETTERS)], extra_ids=0)
