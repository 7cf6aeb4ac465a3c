from dataclasses import replace

import pytest
import torch
from torch import nn

from maquette.core import BadInput, Notice, Preview, Progress, Result, Scalar, Unsupported
from maquette.diffusion import alpha_bar_at
from maquette.pipelines import prolificdreamer
from maquette.priors.analytic import RenderOracle, Solids
from maquette.training.gaussians_to_field import Distilled
from maquette.training.surface_descent import Painted

TINY = prolificdreamer.TINY


class Pupil(RenderOracle):
    """A student that believes in one grey level, which it learns; `asked` is at which times."""

    def __init__(self):
        super().__init__(Solids.toy().look, image_size=16, with_coverage=True)
        self.transformer = nn.ParameterDict({"grey": nn.Parameter(torch.zeros(()))})
        self.optimizer = torch.optim.AdamW(self.transformer.parameters(), lr=0.1)
        self.asked, self.lessons = [], 0

    def denoise(self, latents, t, condition, camera, *, guidance=1.0, rescale=0.0):
        assert guidance == 1 and condition.prompt == "a toy"
        self.asked.append(t)
        self.evaluations += 1
        share = alpha_bar_at(self.alphas_cumprod, t) ** 0.5
        return share * latents + (1 - share) * self.transformer["grey"]

    def learn(self, loss):
        self.lessons += 1
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def run(config, prior, **options):
    pupils = []

    def student():
        pupils.append(Pupil())
        return pupils[-1]

    events = list(prolificdreamer.run(config, prior, **{"prompt": "a toy", "student": student} | options))
    return events, pupils


def values(made):
    own = [made.occupancy.thickness] if isinstance(made, Distilled) else [made.mesh.vertices]
    field = made.field if isinstance(made, Distilled) else made.paint
    return torch.cat([x.detach().flatten().double() for x in (*field.parameters(), *own)])


def test_the_published_numbers():
    paper = prolificdreamer.PAPER
    stages = paper.fields, paper.geometry, paper.texture
    assert [(stage.iterations, stage.guidance) for stage in stages] == [(25_000, 7.5), (15_000, 101.0), (30_000, 7.5)]
    assert all(stage.times == (0.02, 0.98, 0.5) for stage in stages)
    assert [stage.settles * stage.iterations for stage in stages] == pytest.approx([5000, 5000, 5000])
    assert (paper.loop.resolution(4999), paper.loop.resolution(5000), paper.resolution) == (64, 512, 512)
    assert (paper.loop.penalties.entropy(9999), paper.loop.penalties.entropy(10_000)) == (0.0, 1000.0)
    assert paper.sculpting.shows_normals and paper.sculpting.color_rate is None and paper.painting.shape_rate is None
    assert (paper.student_rate, paper.sds_share) == (1e-4, 0.0)
    for wrong in ({"particles": 0}, {"fields": prolificdreamer.Stage(0, 7.5)}):
        with pytest.raises(BadInput, match="expected"):
            replace(paper, **wrong)


def test_three_stages_two_students_and_what_each_is_asked(known_object):
    prior = known_object(16)
    events, (first, second) = run(TINY, prior)
    assert [e.stage for e in events if isinstance(e, Progress)] == ["fields"] * 4 + ["geometry"] * 2 + ["texture"] * 2
    assert {type(e) for e in events} == {Notice, Progress, Scalar, Preview, Result}
    # A step of the variational stages: a guided pair, what the student says, and what it learns at another time.
    assert (first.lessons, second.lessons, len(first.asked), len(second.asked)) == (4, 2, 8, 4)
    guided = [t for t, *_ in prior.asked]
    assert first.asked[::2] == guided[:4] and second.asked[::2] == guided[6:]
    assert not set(first.asked[1::2]) & set(guided)
    assert {(prompt, guidance, views) for _, prompt, guidance, views in prior.asked} == {("a toy", 7.5, 2)}
    report = events[-1].report
    assert report["evaluations"] == 4 * 4 + 2 * 2 + 2 * 4 == prior.evaluations
    assert set(report["seconds"]) == {"fields", "geometry", "texture"} and report["iterations"] == 8
    assert isinstance(events[-1].asset, Painted) and len(events[-1].asset.mesh.faces) > 0


def test_the_time_falls_when_the_stage_settles():
    stage = replace(TINY.fields, iterations=10, times=(0.5, 0.98, 0.6), settles=0.5)
    from maquette.core import Streams, orbit
    from maquette.training.descent import Moment

    times = [stage.time(Moment(i, 0.0, orbit(0.0, 0.0), Streams(i).generator("t"))) for i in (*range(5), *range(5, 10))]
    assert max(times[:5]) > 0.7 and max(times[5:]) <= 0.6 and min(times) >= 0.5


def test_particles_take_turns_and_only_the_first_is_kept(known_object):
    only = replace(TINY, geometry=replace(TINY.geometry, iterations=0))
    events, pupils = run(only, known_object(16))
    assert isinstance(events[-1].asset, Distilled) and len(pupils) == 1
    alone, _ = run(replace(only, particles=1), known_object(16))
    assert not torch.equal(values(alone[-1].asset), values(events[-1].asset))  # it had fewer of the steps


def test_shape_and_colors_descend_after_one_another(known_object):
    """The geometry stage leaves the colors alone, and the texture stage the shape."""
    paint = {}
    for name, config in (
        ("fields", replace(TINY, geometry=replace(TINY.geometry, iterations=0))),
        ("geometry", replace(TINY, texture=replace(TINY.texture, iterations=0))),
        ("texture", TINY),
    ):
        paint[name] = run(config, known_object(16))[0][-1].asset
    colors = {
        name: (made.field if name == "fields" else made.paint).color_net[0].weight for name, made in paint.items()
    }
    assert torch.equal(colors["fields"], colors["geometry"]) and not torch.equal(colors["fields"], colors["texture"])
    assert torch.equal(paint["geometry"].mesh.vertices, paint["texture"].mesh.vertices)


def test_a_run_that_stops_in_any_stage_continues_to_the_same_bytes(tmp_path, known_object):
    whole = run(TINY, known_object(16))[0][-1]
    for stage, step in (("fields", 3), ("geometry", 1), ("texture", 1)):
        making = prolificdreamer.run(TINY, known_object(16), prompt="a toy", student=Pupil, checkpoint=tmp_path)
        for event in making:
            if isinstance(event, Progress) and (event.stage, event.step) == (stage, step):
                making.close()
    events, _ = run(TINY, known_object(16), checkpoint=tmp_path)
    assert [type(e) for e in events[:3]] == [Notice] * 3 and "texture at step 1" in events[2].text
    assert torch.equal(values(events[-1].asset), values(whole.asset))
    assert events[-1].report["evaluations"] == whole.report["evaluations"]


def test_a_prior_without_a_network_has_no_student(known_object):
    with pytest.raises(Unsupported, match="no student for KnownObject"):
        next(prolificdreamer.run(TINY, known_object(16), prompt="a toy"))
