"""SAM and SAM 2 of random weights, written as published ones are: they load, and see what they should see."""

import json

import numpy as np
import pytest
import torch

from maquette.core import BadInput
from maquette.priors.segmentor import load_segmentor

CLICK = ((20.5, 30.5),)


def small_sam(folder):
    from transformers import SamConfig, SamModel

    vision = {
        "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64,
        "mlp_dim": 16, "window_size": 2, "global_attn_indexes": [0], "num_pos_feats": 8, "initializer_range": 0.02,
    }  # fmt: skip
    prompts = {"hidden_size": 16, "image_size": 64, "mask_input_channels": 4}
    masks = {"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=masks)
    SamModel(config).save_pretrained(folder)


def small_sam2(folder):
    from transformers import Sam2Config, Sam2Model

    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1, "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [4, 4, 4, 2],
        "global_attention_blocks": [3], "window_positional_embedding_background_size": [7, 7],
    }  # fmt: skip
    vision = {
        "backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8], "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }  # fmt: skip
    prompts = {"hidden_size": 32, "image_size": 64, "mask_input_channels": 4}
    masks = {"hidden_size": 32, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    config = Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=masks)
    Sam2Model(config).save_pretrained(folder)


@pytest.fixture(params=[small_sam, small_sam2])
def folder(request, tmp_path):
    torch.manual_seed(0)
    request.param(tmp_path / "net")
    return tmp_path / "net"


@pytest.fixture
def picture():
    return torch.rand(40, 60, 3, generator=torch.Generator().manual_seed(0))


def test_masks_are_those_of_the_library(folder, picture):
    """The same logits, picked, cut and enlarged by hand from what the network says."""
    segmentor = load_segmentor(folder)
    mask = segmentor.mask(picture, CLICK, ((50.5, 3.5),))
    assert mask.shape == (40, 60) and mask.dtype == torch.bool
    assert torch.equal(mask, segmentor.mask(picture, CLICK, ((50.5, 3.5),)))
    is_sam = segmentor.keeps_aspect
    inner = (43, 64) if is_sam else (64, 64)  # 40 x 60, the longer side made 64
    points = torch.tensor([[20.5, 30.5], [50.5, 3.5]]) * torch.tensor([inner[1] / 60, inner[0] / 40])
    with torch.no_grad():
        answer = segmentor.network(
            pixel_values=segmentor.pixels(picture), input_points=points[None, None],
            input_labels=torch.tensor([[[1, 0]]]), multimask_output=True,
        )  # fmt: skip
    best = answer.pred_masks[:, 0, answer.iou_scores[0, 0].argmax()][None]
    square = torch.nn.functional.interpolate(best, (64, 64), mode="bilinear")[..., : inner[0], : inner[1]]
    by_hand = torch.nn.functional.interpolate(square, (40, 60), mode="bilinear")[0, 0] > 0
    assert torch.equal(mask, by_hand)


def test_sam_sees_what_its_own_processor_would_show_it(tmp_path, picture):
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    small_sam(tmp_path)
    own = SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    image = (picture * 255).round().byte().numpy().astype(np.uint8)
    theirs = torch.as_tensor(np.asarray(own(images=image)["pixel_values"][0]))
    ours = load_segmentor(tmp_path).pixels(torch.from_numpy(image) / 255)[0]
    assert torch.allclose(ours, theirs, atol=1.5 / 255 / 0.22)  # theirs rounds to bytes on the way


def test_what_cannot_be_loaded_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(BadInput, match=r"hf download facebook/sam-vit-base --include 'config.json'"):
        load_segmentor("facebook/sam-vit-base", is_offline=True)
    with pytest.raises(BadInput, match="neither a folder nor a hub id"):
        load_segmentor("./nowhere")
    with pytest.raises(BadInput, match=r"no config.json"):
        load_segmentor(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BadInput, match="no weights in safetensors"):
        load_segmentor(folder)
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(BadInput, match="is a bert"):
        load_segmentor(folder)


def test_weights_that_are_not_there_are_not_made_up(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in sorted(weights) if "iou_prediction_head" in name))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match="lacks 1 weights"):
        load_segmentor(folder)
