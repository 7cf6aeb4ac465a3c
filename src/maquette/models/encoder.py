"""The pocket encoder: CLIP's two towers (Radford et al., arXiv 2103.00020), made small.

Images go through a small residual network, words through a CLIP text transformer; both end as unit vectors of one
space. The
towers are plain transformers models, so their folders load with `from_pretrained` alone.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

WIDTH = 256


def vision_tower() -> nn.Module:
    """ResNet over (n, 3, 128, 128) sRGB in [-1, 1]; stages at 32, 16, 8 and 4 px."""
    from transformers import ResNetConfig, ResNetModel

    return ResNetModel(
        ResNetConfig(embedding_size=48, hidden_sizes=[48, 96, 192, WIDTH], depths=[1, 1, 2, 1], layer_type="basic")
    )


def text_tower(vocabulary_size: int, max_words: int) -> nn.Module:
    """CLIP text transformer with its projection."""
    from transformers import CLIPTextModelWithProjection

    from maquette.models.words import text_config

    return CLIPTextModelWithProjection(text_config(vocabulary_size, width=WIDTH, layers=2, max_words=max_words))


class TwoTowers(nn.Module):
    """Both towers and the learned temperature of the contrastive loss."""

    def __init__(self, vision: nn.Module, text: nn.Module):
        super().__init__()
        self.vision, self.text = vision, text
        self.log_scale = nn.Parameter(torch.tensor(2.3))

    def image(self, pixels: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n embedding"]:
        """Unit vectors of images in [-1, 1]."""
        pooled = self.vision(pixel_values=pixels).pooler_output.flatten(1).float()
        return nn.functional.normalize(pooled - pooled.mean(1, keepdim=True), dim=-1)

    def words(self, ids: Tensor, mask: Tensor) -> Float[Tensor, "n embedding"]:
        """Unit vectors of token ids."""
        return nn.functional.normalize(self.text(input_ids=ids, attention_mask=mask).text_embeds.float(), dim=-1)
