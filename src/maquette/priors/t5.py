"""Sentences through T5, as PixArt and DeepFloyd IF read them."""

from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core.errors import MissingExtra

READERS = ("sentencepiece", "google.protobuf")


class T5Words:
    """What to load as the tokenizer of T5. It is never made: `from_pretrained` gives the one of transformers.

    Published folders hold the vocabulary as `spiece.model`, which transformers reads with `READERS`; without them it
    falls back on another format and fails far from the cause.
    """

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, subfolder: str, local_files_only: bool):
        """Raises `MissingExtra` where the vocabulary cannot be read."""
        from transformers import T5Tokenizer

        missing = [name for name in READERS if not _is_installed(name)]
        if missing and not (Path(folder) / subfolder / "tokenizer.json").is_file():
            raise MissingExtra(
                f"the words of {folder} are read with {' and '.join(missing)}, not installed here",
                "pip install 'maquette[t5]'",
            )
        return T5Tokenizer.from_pretrained(folder, subfolder=subfolder, local_files_only=local_files_only)


@torch.no_grad()
def read_t5(
    encoder, tokenizer, prompt: str, length: int
) -> tuple[Float[Tensor, "1 tokens width"], Bool[Tensor, "1 tokens"]]:
    """Hidden states of `prompt`, cut or padded to `length` tokens, and which of them are real.

    In lower case and stripped, as the pipelines do; their clean-up of web captions (URLs, HTML) is left out.
    """
    tokens = tokenizer(
        prompt.lower().strip(), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )
    ids, mask = tokens["input_ids"].to(encoder.device), tokens["attention_mask"].to(encoder.device)
    return encoder(ids, attention_mask=mask).last_hidden_state.float(), mask.bool()


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
