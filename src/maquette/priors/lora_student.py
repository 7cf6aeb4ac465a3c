"""The student of variational score distillation for large image priors: low-rank adapters that know the camera.

As in ProlificDreamer (arXiv 2305.16213, section 3.3), but on the prior's own network, whose weights are shared, and
without the warm-up of its rate. The camera is never left out, since only a guided student would need that.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core.camera import Camera
from maquette.core.seed import Streams
from maquette.models.lora import adapt
from maquette.priors.latent_unet import LatentUnetPrior
from maquette.priors.latents import X0_FROM
from maquette.priors.protocol import Condition, Latents
from maquette.priors.student import level_asked, step_down

POSE = 16  # numbers of a camera-to-world matrix


class LoraStudent:
    """`MultiviewPrior` whose U-Net is the teacher's with adapters and an embedding of the camera, which learn.

    At the start it is its teacher bit for bit. Every forward pass, also one that only learns, counts as an evaluation.
    In half precision small gradients vanish; keep the prior in float32 where memory allows.
    """

    def __init__(self, teacher: LatentUnetPrior, *, rank: int = 4, rate: float = 1e-4, seed: int = 0):
        self.image_size, self.latent_shape, self.device = teacher.image_size, teacher.latent_shape, teacher.device
        self.alphas_cumprod, self.predicts, self.evaluations = teacher.alphas_cumprod, teacher.predicts, 0
        self.condition, self.encode, self.decode = teacher.condition, teacher.encode, teacher.decode
        self._dtype = teacher.unet.dtype  # the student's own answer may be that of its adapters, which are float32
        draw = Streams(seed).generator("adapters")
        self.unet, adapters = adapt(teacher.unet, rank=rank, generator=draw)
        self.unet.class_embedding = PoseEmbedding(teacher.unet.time_embedding.linear_2.out_features, draw)
        self.unet.class_embedding.to(teacher.device)
        self.transformer = nn.ModuleDict({"adapters": adapters, "camera": self.unet.class_embedding})
        self.optimizer = torch.optim.AdamW(self.transformer.parameters(), lr=rate)

    def denoise(
        self, latents: Latents, t: float, condition: Condition, camera: Camera, *,
        guidance: float = 1.0, rescale: float = 0.0,
    ) -> Latents:  # fmt: skip
        """x0 under the words and from the cameras; differentiable in `transformer`; never guided (`Unsupported`)."""
        level = level_asked(self, t, guidance)
        noisy = latents.float()
        words = condition.text.expand(len(latents), -1, -1).to(self._dtype)
        poses = camera.world_from_camera.to(self.device).flatten(1)
        said = self.unet(noisy.to(self._dtype), level, encoder_hidden_states=words, class_labels=poses).sample
        return X0_FROM[self.predicts](noisy, said.float(), float(self.alphas_cumprod[level]))

    def learn(self, loss: Float[Tensor, ""]) -> None:
        """One step of AdamW down the gradient of `loss`."""
        step_down(self.optimizer, loss)


class PoseEmbedding(nn.Module):
    """Camera-to-world matrices, row by row, as something to add to the embedding of time; nothing at first.

    It stands where diffusers' U-Net embeds classes, of which Stable Diffusion has none.
    """

    def __init__(self, width: int, generator: torch.Generator):
        super().__init__()
        self.into, self.out = nn.Linear(POSE, width), nn.Linear(width, width)
        nn.init.uniform_(self.into.weight, -(POSE**-0.5), POSE**-0.5, generator=generator)
        for begins_at_zero in (self.into.bias, self.out.weight, self.out.bias):
            nn.init.zeros_(begins_at_zero)

    def forward(self, poses: Float[Tensor, "views numbers"]) -> Float[Tensor, "views width"]:
        return self.out(nn.functional.silu(self.into(poses.float())))
