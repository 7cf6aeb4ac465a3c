import torch

from maquette.representations.gaussians import from_points, state_hash
from maquette.training import density, optim, resume


def test_a_fit_goes_on_from_its_packed_state_as_if_never_packed():
    draw = torch.Generator().manual_seed(0)
    points = torch.randn(20, 3, generator=draw)
    cloud = optim.leaves(from_points(points, torch.rand(20, 3, generator=draw)))
    adam, noticed = optim.start(cloud), density.start(cloud)

    def step(cloud, adam, noticed):
        sum((x - 0.1).square().sum() for x in cloud.tensors().values()).backward()
        gradient = torch.linspace(0, 1, 40).view(1, 20, 2)
        noticed = density.observe(noticed, gradient, torch.ones(1, 20), (8, 8))
        return cloud, optim.descend(optim.DREAMGAUSSIAN, cloud, adam), noticed

    cloud, adam, noticed = step(*step(cloud, adam, noticed))
    tensors, values = resume.pack(cloud, adam, noticed)
    stored = {name: x.detach().clone() for name, x in tensors.items()} | {"other": torch.zeros(1)}
    for _ in range(2):
        cloud, adam, noticed = step(cloud, adam, noticed)

    again, adam_again, noticed_again = resume.unpack(stored, values)
    again = optim.leaves(again)
    for _ in range(2):
        again, adam_again, noticed_again = step(again, adam_again, noticed_again)
    assert state_hash(again) == state_hash(cloud)
    assert adam_again.step == adam.step == 4
    assert torch.equal(noticed_again.gradient_sum, noticed.gradient_sum)
    assert torch.equal(noticed_again.seen, noticed.seen)
