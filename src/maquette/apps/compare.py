"""The command `maquette compare`. What it does stands in comparison.py, which is imported when it runs."""

from pathlib import Path

from tyro.conf import Positional

from maquette.core.errors import BadInput
from maquette.core.inputs import check_prompt, check_seed

ALL = "sds,sjc,csd,nfsd,vsd,ism,sdi,ge3d"


def compare(
    prompts: Positional[tuple[str, ...]],
    /,
    *,
    guidance: str = ALL,
    seed: int = 0,
    evaluations: int = 1500,
    out: Path = Path("out/comparison"),
    device: str | None = None,
    json: bool = False,
) -> None:
    """Run several score distillations under equal conditions and report how they fare.

    Args:
        prompts: What to make, for example "a red apple"; several are averaged.
        guidance: The methods, with commas.
        seed: Of the first cloud, the cameras and the noise, the same for all methods.
        evaluations: Of the denoiser, for each method and prompt.
        out: The folder for the report, the curves, the sheets and the clouds.
        device: cpu or cuda; the best one present if left out.
        json: Print events as JSON lines instead of progress bars.
    """
    wanted = tuple(dict.fromkeys(check_prompt(prompt) for prompt in prompts))
    if not wanted:
        raise BadInput("there is no prompt to compare on", 'give at least one, for example "a red apple"')
    check_seed(seed)
    if evaluations < 1:
        raise BadInput(f"{evaluations} evaluations; expected at least 1", "the default is 1500")
    from maquette.apps.guides import methods

    chosen = methods(guidance)
    from maquette.apps.comparison import compare as run
    from maquette.apps.follow import follow
    from maquette.core.files import prepare_folder
    from maquette.evaluation.comparison import table

    folder = prepare_folder(out)
    result = follow(run(wanted, chosen, folder, evaluations=evaluations, seed=seed, device=device), as_json=json)
    if not json:
        print(table(result.report))
        print(folder)
