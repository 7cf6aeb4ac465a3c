"""The command `maquette compare`. What it does stands in comparison.py, which is imported when it runs."""

import math
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from maquette.core.errors import BadInput
from maquette.core.inputs import check_prompt, check_seed

ALL = "sds,sjc,csd,nfsd,vsd,ism,sdi,ge3d"


def compare(
    prompt: Positional[tuple[str, ...]] = (),
    /,
    *,
    prompts: Path | None = None,
    guidance: str = ALL,
    seed: int = 0,
    evaluations: int = 1500,
    scale: float | None = None,
    pace: Literal["step", "evaluation"] = "step",
    out: Path = Path("out/comparison"),
    device: str | None = None,
    json: bool = False,
) -> None:
    """Run several score distillations under equal conditions and report how they fare.

    Stopped at any moment, the same command continues it. More prompts and methods may be added to the same folder.

    Args:
        prompt: What to make, for example "a red apple"; several are averaged.
        prompts: A file with more of them: a prompt on each line, or .jsonl with a "prompt" in each object.
        guidance: The methods, with commas.
        seed: Of the first cloud, the cameras and the noise, the same for all methods.
        evaluations: Of the denoiser, for each method and prompt.
        scale: One scale of classifier-free guidance for all methods that have one (not csd and nfsd), in place of their
            papers' own.
        pace: How far the optimiser goes: as far in each step of every method, or as far for each evaluation.
        out: The folder for the report, the curves, the sheets and the clouds.
        device: cpu or cuda; the best one present if left out.
        json: Print events as JSON lines instead of progress bars.
    """
    from maquette.apps.prompt_file import read_prompts

    listed = [] if prompts is None else read_prompts(prompts)
    given = [*map(check_prompt, prompt), *(one if isinstance(one, str) else one["prompt"] for one in listed)]
    wanted = tuple(dict.fromkeys(given))
    if not wanted:
        raise BadInput("there is no prompt to compare on", 'give at least one, for example "a red apple"')
    check_seed(seed)
    if evaluations < 1:
        raise BadInput(f"{evaluations} evaluations; expected at least 1", "the default is 1500")
    if scale is not None and not (math.isfinite(scale) and scale > 1):
        raise BadInput(
            f"scale is {scale}; expected more than 1, where guidance begins", "leave it out for the papers' own"
        )
    from maquette.apps.guides import methods

    chosen = methods(guidance)
    from maquette.apps.comparison import compare as run
    from maquette.apps.follow import follow
    from maquette.core.files import prepare_folder
    from maquette.evaluation.comparison import table

    folder = prepare_folder(out)
    events = run(wanted, chosen, folder, evaluations=evaluations, seed=seed, scale=scale, pace=pace, device=device)
    try:
        result = follow(events, as_json=json)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what is finished is kept in {folder}; the same command continues") from None
    if not json:
        print(table(result.report))
        print(folder)
