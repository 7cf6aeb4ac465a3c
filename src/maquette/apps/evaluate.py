"""What `maquette evaluate` puts together: the generator of assets, the judge, and the list of prompts."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from maquette import __version__
from maquette.apps.generate import generate_to_folder
from maquette.core import Event
from maquette.evaluation import evaluate_prompts
from maquette.priors.encoders import POCKET, load_encoder, load_judge


def evaluate(
    prompts: Sequence[dict | str], out: Path, *, seed: int, limit: int | None, overrides: dict, data: Path | None = None
) -> Iterator[Event]:
    """Make and score an asset for every prompt; ends in `Result(None, report)`, as `evaluate_prompts` tells.

    Assets count as finished for a later call only if the version, the overrides and the weights that make them are the
    same; the judge makes none.
    """

    def make(prompt: str, folder: Path) -> Iterator[Event]:
        return generate_to_folder(
            prompt, image=None, pipeline="im3d", prior="pocket", seed=seed, out=folder, device=None, overrides=overrides
        )

    identity = {"version": __version__, "overrides": overrides, "weights": weights_hash("multiview", "encoder")}
    yield from evaluate_prompts(
        prompts, out, make=make, judge=load_judge(), guide=load_encoder(), seed=seed, limit=limit, identity=identity,
        data=data,
    )  # fmt: skip


def weights_hash(*models: str) -> str:
    """A short name for the exact weights of some models of the pocket prior."""
    digest = blake2b(digest_size=8)
    for path in sorted(path for model in models for path in (POCKET / model).rglob("*.safetensors")):
        digest.update(str(path.relative_to(POCKET)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
