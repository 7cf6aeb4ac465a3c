"""The shipped models: small enough, complete, and agreeing with the words that the prompts module lets through."""

from pathlib import Path

import torch

import maquette
from maquette.core.camera import turntable
from maquette.data.captions import words
from maquette.data.procedural import procedural_mesh
from maquette.data.views import render_views
from maquette.diffusion import add_noise, alpha_bar_at
from maquette.priors.encoders import load_encoder, load_judge
from maquette.priors.multiview import load_multiview
from maquette.priors.prompts import understand, vocabulary

POCKET = Path(maquette.__file__).parent / "pocket"


def test_all_models_together_stay_below_eighty_megabytes():
    assert sum(path.stat().st_size for path in POCKET.rglob("*") if path.is_file()) < 80e6


def test_nothing_is_pickled():
    endings = {path.suffix for path in POCKET.rglob("*") if path.is_file()}
    assert endings <= {".json", ".safetensors", ".md", ".txt", ".gz", ".tsv", ""}


def test_every_word_that_is_let_through_is_a_token_of_all_three_tokenizers():
    known = {word for entries in vocabulary().values() for entry in entries for word in words(entry)}
    for name in ("multiview", "encoder", "judge"):
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast.from_pretrained(POCKET / name / "tokenizer")
        table = tokenizer.get_vocab()
        assert not sorted(known - set(table)), name
        ids = tokenizer(understand("an automobile").understood)["input_ids"]
        assert tokenizer.unk_token_id not in ids and ids[0] == 2 and ids[-1] == 3


def test_the_judge_is_another_network_than_the_guide():
    guide, judge = load_encoder(), load_judge()
    images = torch.rand(4, 128, 128, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alike = (guide.embed_image(images) * judge.embed_image(images)).sum(1)
    assert alike.abs().max() < 0.5


def test_views_survive_the_autoencoder_and_a_little_noise():
    prior, camera = load_multiview(), turntable(16, 20.0)
    rgba = torch.from_numpy(render_views(procedural_mesh(0), camera).rgba).float() / 255
    clean = prior.encode(rgba)
    back = prior.decode(clean)
    assert -10 * (back - rgba).square().mean().log10() > 24
    assert 0.4 < clean.std() < 2.5  # one object is not the average of all
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noisy = add_noise(clean, noise, alpha_bar_at(prior.alphas_cumprod, 0.4))
    repaired = prior.denoise(noisy, 0.4, prior.condition("a red box"), camera, guidance=1.0)
    assert (repaired - clean).square().mean() < 0.5 * (noisy - clean).square().mean()
