import pytest
import torch

from maquette.core.errors import BadInput
from maquette.models.point_flow import PointFlow


def _flow(shaken=True, **options) -> PointFlow:
    torch.manual_seed(0)
    model = PointFlow(width=64, depth=2, heads=2, text_width=16, **options).eval()
    for parameter in model.parameters():
        if shaken:  # zero-initialised gates would hide everything
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def _inputs(channels=3, words=5):
    draw = torch.Generator().manual_seed(1)
    mask = torch.ones(2, words, dtype=torch.bool)
    mask[:, -1] = False
    return {
        "z": torch.randn(2, 9, channels, generator=draw),
        "t": torch.tensor([0.2, 0.9]),
        "text": torch.randn(2, words, 16, generator=draw),
        "mask": mask,
    }


@torch.no_grad()
@pytest.mark.parametrize("on_points", [False, True])
def test_permuted_points_have_permuted_velocities(on_points):
    model, inputs = _flow(channels=4, on_points=on_points), _inputs(4)
    if on_points:
        inputs["points"] = torch.rand(2, 9, 3, generator=torch.Generator().manual_seed(3)) - 0.5
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    moved = {name: value[:, order] if name in ("z", "points") else value for name, value in inputs.items()}
    velocity = model(**inputs)
    torch.testing.assert_close(model(**moved), velocity[:, order], atol=1e-5, rtol=1e-4)
    if on_points:  # the two must be permuted together
        torn = model(**inputs | {"z": moved["z"]})
        assert (torn - velocity[:, order]).abs().max() > 1e-3


@torch.no_grad()
def test_points_of_one_set_see_each_other_and_no_other_set():
    model, inputs = _flow(), _inputs()
    before = model(**inputs)
    inputs["z"] = inputs["z"].clone()
    inputs["z"][0, 3] += 1
    after = model(**inputs)
    assert torch.equal(after[1], before[1]) and (after[0, 0] - before[0, 0]).abs().max() > 1e-5


@torch.no_grad()
def test_words_count_masked_ones_do_not_and_of_no_words_any_number_is_the_same():
    model, inputs = _flow(), _inputs()
    before = model(**inputs)
    changed = inputs["text"].clone()
    changed[:, -1] = 9.0
    assert torch.equal(model(**inputs | {"text": changed}), before)
    changed[:, 0] += 1.0
    assert (model(**inputs | {"text": changed}) - before).abs().max() > 1e-3
    empty = [inputs | {"text": torch.zeros(2, n, 16), "mask": torch.ones(2, n, dtype=torch.bool)} for n in (1, 7)]
    torch.testing.assert_close(model(**empty[0]), model(**empty[1]), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_time_counts_and_a_fresh_network_stands_still():
    model, inputs = _flow(), _inputs()
    later = model(**inputs | {"t": inputs["t"] + 0.01})
    assert (later - model(**inputs)).abs().max() > 1e-4
    assert torch.equal(_flow(shaken=False)(**inputs), torch.zeros(2, 9, 3))


def test_data_is_normalised_and_back(tmp_path):
    model = _flow(channels=2, mean=[1.0, -2.0], std=[0.5, 4.0])
    data = torch.tensor([[[1.5, 2.0]]])
    assert torch.equal(model.normalize(data), torch.tensor([[[1.0, 1.0]]]))
    assert torch.equal(model.restore(model.normalize(data)), data)
    model.save_pretrained(tmp_path)
    again = PointFlow.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    assert torch.equal(again.normalize(data), model.normalize(data))
    with torch.no_grad():
        assert torch.equal(again(**_inputs(2)), model(**_inputs(2)))


def test_points_where_they_do_not_belong():
    with pytest.raises(BadInput, match="missing"):
        _flow(on_points=True)(**_inputs())
    with pytest.raises(BadInput, match="given"):
        _flow()(**_inputs(), points=torch.zeros(2, 9, 3))
