"""The student of the shipped prior: what it shares, what it learns, and what it refuses."""

import pytest
import torch

from maquette.core import turntable
from maquette.core.errors import Unsupported
from maquette.guidance import Wording, student_loss
from maquette.priors.multiview import load_multiview
from maquette.priors.student import Student


def test_a_student_begins_as_its_teacher_learns_alone_and_is_not_guided():
    prior, camera = load_multiview(), turntable(2, 15.0)
    student, words = Student(prior, rate=1e-3), Wording(prior.condition("a red chair"))
    draw = torch.Generator().manual_seed(0)
    latents = prior.encode(torch.rand(2, prior.image_size, prior.image_size, 4, generator=draw))
    noise = torch.randn(latents.shape, generator=draw)

    def said(who) -> torch.Tensor:
        with torch.no_grad():
            return who.denoise(latents + noise, 0.5, words.positive, camera, guidance=1.0, rescale=0.0)

    before, taught = said(student), said(prior)
    assert (before - taught).norm() < 0.05 * taught.norm(), "the same network, in float32"
    losses = []
    for _ in range(3):
        loss = student_loss(latents, student, words, camera, 0.5, noise, predicts="v")
        losses.append(loss.item())
        student.learn(loss)
    assert losses[2] < losses[1] < losses[0]
    assert student.evaluations == 4 and prior.evaluations == 1
    assert torch.equal(said(prior), taught), "the teacher stays as it is"
    assert not any(parameter.requires_grad for parameter in prior.transformer.parameters())
    with pytest.raises(Unsupported, match="a student with guidance"):
        student.denoise(latents, 0.5, words.positive, camera, guidance=7.5)
