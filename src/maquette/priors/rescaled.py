"""A pocket prior that guides with a scale of its own, whatever it is asked: for methods compared under one scale."""

from maquette.core.camera import Camera
from maquette.priors.multiview import MultiviewLatentPrior
from maquette.priors.protocol import Condition, Latents


class Rescaled(MultiviewLatentPrior):
    """`MultiviewPrior` that answers with `scale` (more than 1) wherever guidance is asked for, and shares its networks.

    A scale below 0, which leads away from the words, becomes -`scale`. Answers with words alone (1) and without words
    (0) stay, so a method that weighs these two by itself keeps its own weights.
    """

    def __init__(self, prior: MultiviewLatentPrior, scale: float):
        super().__init__(prior.transformer, prior.text_encoder, prior.tokenizer, prior.vae, prior.alphas_cumprod)
        self.scale = scale

    def denoise(
        self, latents: Latents, t: float, condition: Condition, camera: Camera, *, guidance: float, rescale: float = 0.0
    ) -> Latents:
        """As the prior's, with another scale."""
        if guidance not in (0, 1):
            guidance = self.scale if guidance > 0 else -self.scale
        return super().denoise(latents, t, condition, camera, guidance=guidance, rescale=rescale)
