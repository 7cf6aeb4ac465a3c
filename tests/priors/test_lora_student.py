"""The student of an image prior: its teacher at first, then whatever the renderings are; the teacher stays."""

import pytest
import torch

from maquette.core import turntable
from maquette.core.errors import Unsupported
from maquette.guidance import Wording, sds, student_loss, vsd
from maquette.priors import MultiviewPrior
from maquette.priors.latent_unet import load_latent_unet
from maquette.priors.lora_student import LoraStudent
from maquette.priors.student import Learns

CAMERA, T = turntable(2, 15.0), 0.5
LATENTS, NOISE = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=["sd", "sd-v"])
def prior(request, checkpoint):
    return load_latent_unet(checkpoint(request.param))


@pytest.fixture
def words(prior):
    return [Wording(prior.condition("a red apple"))] * 2


def said(who, words, camera=CAMERA) -> torch.Tensor:
    with torch.no_grad():
        return who.denoise(LATENTS, T, words[0].positive, camera, guidance=1.0, rescale=0.0)


def test_it_begins_as_its_teacher_bit_for_bit(prior, words):
    student = LoraStudent(prior)
    assert isinstance(student, MultiviewPrior) and isinstance(student, Learns)
    assert torch.equal(said(student, words), said(prior, words))
    again = LoraStudent(prior)
    for one, other in zip(student.transformer.parameters(), again.transformer.parameters(), strict=True):
        assert torch.equal(one, other), "one seed, one student"
    with pytest.raises(Unsupported, match="a student with guidance"):
        student.denoise(LATENTS, T, words[0].positive, CAMERA, guidance=7.5)


def test_a_teacher_in_half_precision_has_a_student_that_learns_in_full(checkpoint):
    prior = load_latent_unet(checkpoint("sd"), dtype=torch.bfloat16)
    student, words = LoraStudent(prior), [Wording(prior.condition("a red apple"))] * 2
    assert torch.equal(said(student, words), said(prior, words))
    assert {weight.dtype for weight in student.transformer.parameters()} == {torch.float32}
    student.learn(student_loss(LATENTS, student, words, CAMERA, T, NOISE))
    assert not torch.equal(said(student, words), said(prior, words))


def test_at_the_start_vsd_is_sds_with_guidance_less_sds_without(prior, words):
    where = (CAMERA, T, NOISE)
    push = vsd(LATENTS, prior, LoraStudent(prior), words, words, *where, scale=7.5).gradient
    guided, plain = (sds(LATENTS, prior, words, *where, scale=scale).gradient for scale in (7.5, 1.0))
    assert push.norm() > 0
    torch.testing.assert_close(push, guided - plain, atol=1e-5, rtol=1e-4)


def test_it_learns_the_renderings_and_vsd_becomes_sds(prior, words):
    student = LoraStudent(prior, rank=8, rate=1e-2)
    where, weights = (CAMERA, T, NOISE), [weight.clone() for weight in prior.unet.parameters()]
    wanted, taught = sds(LATENTS, prior, words, *where, scale=7.5).gradient, said(prior, words)
    losses, away = [], []
    for _ in range(6):
        push = vsd(LATENTS, prior, student, words, words, *where, scale=7.5)
        away.append((push.gradient - wanted).norm().item())
        loss = student_loss(LATENTS.clone().requires_grad_(), student, words, *where)
        losses.append(loss.item())
        student.learn(loss)
    assert losses[-1] < 0.97 * losses[0] and losses == sorted(losses, reverse=True)
    assert away[-1] < 0.99 * away[0] and away == sorted(away, reverse=True), "sure of the noise, it would be SDS"
    assert student.evaluations == 6 * 4, "each of two views by itself, once to say and once to learn"
    assert all(torch.equal(weight, old) for weight, old in zip(prior.unet.parameters(), weights, strict=True))
    assert not any(weight.requires_grad or weight.grad is not None for weight in prior.unet.parameters())
    assert torch.equal(said(prior, words), taught) and prior.unet.class_embedding is None
    assert not torch.equal(said(student, words), said(student, words, turntable(2, 60.0))), "it knows the camera"


def test_what_learns_is_small_and_all_of_it_can_be_kept(prior, words):
    student, other = LoraStudent(prior), LoraStudent(prior, seed=1)
    student.learn(student_loss(LATENTS, student, words, CAMERA, T, NOISE))
    student.learn(student_loss(LATENTS, student, words, CAMERA, T, NOISE))
    other.transformer.load_state_dict(student.transformer.state_dict())
    assert torch.equal(said(student, words), said(other, words))
    learning = {id(weight) for weight in student.transformer.parameters()}
    assert {id(weight) for weight in student.unet.parameters() if weight.requires_grad} == learning
    count = sum(weight.numel() for weight in student.transformer.adapters.parameters())
    assert count < 0.2 * sum(weight.numel() for weight in prior.unet.parameters())
