"""Going on with the generation of one part, under its own words and a range of times that the person chooses.

Interactive3D (arXiv 2404.16510), section 3.2: semantic editing with all parameters, and generation that continues after
other edits. All else of the scene stands still. This module does not know which prior it has.
"""

from collections.abc import Generator
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from maquette.core import Event, Preview, Progress, Streams
from maquette.core.errors import BadInput
from maquette.edit.guided import (
    Interactive,
    Learner,
    check_gradients,
    check_words,
    default_control,
    default_rates,
)
from maquette.edit.scene import Change, Scene
from maquette.guidance import Wording
from maquette.priors import MultiviewPrior

PREVIEW_EVERY = 10


@dataclass(frozen=True)
class Regenerate:
    """Let a part go on becoming `prompt`, colors and shape, in `steps` steps; rows may come and go in it."""

    part: str
    prompt: str
    steps: int = 150
    whole: str = ""
    """What the whole object then is; without it, all views show the part."""
    times: tuple[float, float] = (0.1, 0.5)
    """The range of noise levels: up to 0.98 for shapes that shall change much, to 0.3 for details."""
    guidance: float = 7.5
    """Classifier-free guidance scale; 1 is none."""

    def __post_init__(self) -> None:
        check_words(self.prompt, self.whole, self.times, self.guidance)
        if not 1 <= self.steps <= 100_000:
            raise BadInput(f"{self.steps} steps; expected 1 to 100000", "the default is 150")


def regenerate(edit: Regenerate, scene: Scene, prior: MultiviewPrior, draw: Streams) -> Generator[Event, None, Change]:
    """The change, after its progress and previews. Rows outside keep every bit: they are constants.

    The same scene, prior and streams give the same bits. BadInput for a part that is not there, or that vanishes;
    NonFinite if the prior gives no numbers.
    """
    rows = scene.rows(edit.part)
    loss = Interactive(
        prior, Wording(prior.condition(edit.prompt)), scene.cloud.select(slice(0, 0)), scene.cloud.select(~rows),
        Wording(prior.condition(edit.whole)) if edit.whole else None, edit.times, edit.guidance,
    )  # fmt: skip
    return (yield from descended(loss, scene, rows, edit.steps, draw))


def descended(
    loss: Interactive, scene: Scene, rows: Bool[Tensor, " gaussians"], steps: int, draw: Streams
) -> Generator[Event, None, Change]:
    """`rows` of the scene after so many steps under a loss of words."""
    learner, rates, control = Learner.of(scene.cloud, rows), default_rates(steps), default_control(steps)
    for step in range(steps):
        pushed = loss.push(learner.cloud, step, draw, "regenerate")
        pushed.loss.backward()
        check_gradients(learner.cloud, step, "regeneration")
        learner, _ = learner.stepped(pushed, rates, control, step, draw.generator(f"density/{step}"))
        if step % PREVIEW_EVERY == 0:
            yield Preview(step, pushed.seen.color.detach().clamp(0, 1))
        yield Progress("regenerate", step + 1, steps)
    return learner.lineage.change(scene, rows, learner.cloud)
