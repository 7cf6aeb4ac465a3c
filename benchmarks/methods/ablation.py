"""The ablations of IM-3D (arXiv 2402.08682, tables 2 and 3) at our scale, as one table.

    python benchmarks/methods/ablation.py prompts.jsonl --prompts 20

Every variant makes every prompt with the same seed; a second encoder that no loss uses judges the renders. Variants
that start from the same views share the sample of them. What is finished is kept, so the same command continues.
Writes `ablation.md`, `ablation.json` and for every variant a folder with its report and contact sheet.
"""

import argparse
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import torch

from maquette import __version__
from maquette.core import Event, Notice, Progress, Result, prepare_folder
from maquette.core.files import atomic_write
from maquette.evaluation import evaluate_prompts
from maquette.evaluation.report import markdown_table, write_json
from maquette.pipelines import im3d
from maquette.priors import Encoder, MultiviewPrior


def _weights(**changed: float) -> Callable[[im3d.Config], im3d.Config]:
    return lambda config: replace(config, weights=replace(config.weights, **changed))


def _l2(config: im3d.Config) -> im3d.Config:
    """A squared error of pixels with the weight of the perceptual term in its place."""
    return _weights(perceptual=0.0, color=config.weights.perceptual)(config)


def _regenerated(config: im3d.Config) -> im3d.Config:
    """Twice, at the shares of the run and with the strengths of the paper's preset."""
    every = config.iterations * im3d.PAPER.round_every // im3d.PAPER.iterations
    return replace(config, rounds=2, strengths=im3d.PAPER.strengths, round_every=every)


def _frames(views: int) -> Callable[[im3d.Config], im3d.Config]:
    return lambda config: replace(config, views=views, batch_views=min(config.batch_views, views))


VARIANTS: dict[str, Callable[[im3d.Config], im3d.Config]] = {
    "full": lambda config: config,
    "no perceptual loss": _weights(perceptual=0.0),
    "L2 instead of perceptual": _l2,
    "no SSIM": _weights(ms_ssim=0.0),
    "no mask": _weights(mask=0.0),
    "with regeneration": _regenerated,
    "start at the centre": lambda config: replace(config, hull=None),
    "one first sample": lambda config: replace(config, candidates=1),
    "8 frames": _frames(8),
    "4 frames": _frames(4),
}
"""Name -> what it changes; "full" has 16 frames."""

HEADER = ["variant", "R-Precision", "of single views", "text", "image", "seconds", "evaluations"]
NOTES = """R-Precision: is the prompt the nearest of all listed ones to the mean of 8 renders, and to single renders.
Text and image: cosine similarity (x 100, mean ± standard deviation over objects) of renders with the prompt, and with
the first view of the variant's own first sample, which stands for the paper's reference image. Seconds: median of a
whole run without mesh and files; variants that share a first sample pay for it once, in the first row. Evaluations
count it always.
"""


class Remembered:
    """A prior that answers a question that it was asked before from memory; `evaluations` counts as if it had not."""

    def __init__(self, prior: MultiviewPrior):
        self.image_size, self.latent_shape = prior.image_size, prior.latent_shape
        self.alphas_cumprod, self.device = prior.alphas_cumprod, prior.device
        self.condition, self.encode, self.decode = prior.condition, prior.encode, prior.decode
        self.evaluations, self.is_learning = 0, True
        self._prior, self._answers = prior, {}

    def denoise(self, latents, t, condition, camera, **options):
        """As the prior's own; remembered by everything that it depends on."""
        digest = blake2b(repr((t, condition.prompt, sorted(options.items()))).encode())
        for tensor in (latents, camera.world_from_camera, *([] if condition.text is None else [condition.text])):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        answer = self._answers.get(digest.digest())
        if answer is None:
            before = self._prior.evaluations
            x0 = self._prior.denoise(latents, t, condition, camera, **options)
            answer = x0, self._prior.evaluations - before
            if self.is_learning:
                self._answers[digest.digest()] = answer
        self.evaluations += answer[1]
        return answer[0]


def ablate(
    prompts: list[str | dict],
    out: Path,
    *,
    config: im3d.Config,
    prior: MultiviewPrior,
    encoder: Encoder,
    judge: Encoder,
    understand: Callable[[str], str] = str,
    seed: int = 0,
    identity: dict | None = None,
) -> Iterator[Event]:
    """Evaluate all variants; ends in Result(None, report) with the rows of the table."""
    remembered, reports = Remembered(prior), {}
    for name, change in VARIANTS.items():
        variant = change(config)

        def make(prompt: str, folder: Path, variant: im3d.Config = variant) -> Iterator[Event]:
            return im3d.run(variant, remembered, encoder, prompt=understand(prompt), seed=seed)

        remembered.is_learning = name == "full"  # nobody asks again for what others regenerate
        folder = prepare_folder(out / name.replace(" ", "-"))
        known = {**(identity or {}), "config": repr(variant)}
        for event in evaluate_prompts(prompts, folder, make=make, judge=judge, seed=seed, identity=known):
            match event:
                case Progress(_, step, total):
                    yield Progress(name, step, total)
                case Result(_, report):
                    reports[name] = report
                case _:
                    yield event
    rows = [_row(name, report) for name, report in reports.items()]
    write_json(out / "ablation.json", {"rows": [dict(zip(HEADER, row, strict=True)) for row in rows], **reports})
    with atomic_write(out / "ablation.md", "w") as file:
        file.write(f"{_circumstances(reports['full'])}\n{markdown_table(HEADER, rows)}\n{NOTES}")
    yield Result(None, {"header": HEADER, "rows": rows})


def _row(name: str, report: dict) -> list[str]:
    judged = report["judge"]
    if not judged["made"]:
        return [name, *["failed"] * (len(HEADER) - 1)]
    return [
        name,
        f"{judged['r_precision']['object']:.2f}",
        f"{judged['r_precision']['view']:.2f}",
        _percent(judged["text_similarity"]),
        _percent(judged["image_similarity"]),
        f"{report['seconds']['median']:.0f}",
        f"{report['evaluations']['median']:.0f}",
    ]


def _percent(value: dict | None) -> str:
    return "-" if value is None else f"{100 * value['mean']:.1f} ± {100 * value['std']:.1f}"


def _circumstances(report: dict) -> str:
    """What one has to know before the numbers."""
    known = report["identity"]
    return (
        f"IM-3D, {report['prompts']} prompts, seed {known['seed']}, maquette {__version__} at {_commit()}, weights "
        f"{known.get('weights', 'none')}, torch {torch.__version__}, {os.cpu_count()} cores ({platform.machine()}).\n"
        "Command: `python benchmarks/methods/ablation.py PROMPTS --prompts N`\n"
    )


def _commit() -> str:
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    return told.stdout.strip() or "no commit"


def main() -> None:
    """Read the command line, run everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="prompts: a line each, or .jsonl")
    parser.add_argument("--prompts", type=int, default=20, help="only the first so many (20)")
    parser.add_argument("--out", type=Path, default=Path("out/ablation"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quality", default="standard", help="as in maquette generate")
    given = parser.parse_args()

    from maquette.apps.evaluate import weights_hash
    from maquette.apps.make import configured
    from maquette.apps.prompt_file import read_prompts
    from maquette.priors.encoders import load_encoder, load_judge
    from maquette.priors.multiview import load_multiview
    from maquette.priors.prompts import understand

    events = ablate(
        read_prompts(given.file)[: given.prompts],
        prepare_folder(given.out),
        config=configured({"quality": given.quality}),
        prior=load_multiview(),
        encoder=load_encoder(),
        judge=load_judge(),
        understand=lambda prompt: understand(prompt).understood,
        seed=given.seed,
        identity={"version": __version__, "weights": weights_hash("multiview", "encoder")},
    )
    for event in events:
        match event:
            case Progress(stage, step, total):
                print(f"\r{stage}: {step}/{total}    ", end="", flush=True)
            case Notice(text):
                print(f"\n{text}")
    print("\n" + (given.out / "ablation.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
