"""Reference attention (Zero123++, arXiv 2310.15110, section 2.3): tokens of an image also attend to those of another.

The U-Net sees the other image first, and each self-attention keeps what it was given; then it sees the image itself,
and each self-attention finds those tokens beside its own. No weights are added.
"""

from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, cat


def attend_to_reference(unet) -> None:
    """Let a diffusers U-Net be called with `cross_attention_kwargs={"kept": dict, "is_reference": bool}`, and only so.

    The call with `is_reference` fills `kept`, which the call without it reads.
    """
    unet.set_attn_processor({
        path: _BesideReference(path if path.endswith("attn1.processor") else "") for path in unet.attn_processors
    })  # fmt: skip


class _BesideReference:
    """One attention; `path` names a self-attention, and is empty for the others."""

    def __init__(self, path: str):
        self.path, self.plain = path, AttnProcessor2_0()

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        kept: dict[str, Tensor],
        is_reference: bool,
    ) -> Tensor:
        if self.path and is_reference:
            kept[self.path] = hidden_states
        elif self.path:
            encoder_hidden_states = cat([hidden_states, kept[self.path]], dim=1)
        return self.plain(attn, hidden_states, encoder_hidden_states, attention_mask)
