"""Checks of what a person types, cheap enough to make before anything heavy is imported.

This module does not know which words a prior understands.
"""

import unicodedata

from maquette.core.errors import BadInput

LONGEST_PROMPT = 1000  # characters; a sentence has about a hundred


def check_prompt(prompt: str) -> str:
    """The prompt with its white space tidied; BadInput if it is empty, too long, or contains control characters."""
    if len(prompt) > LONGEST_PROMPT:
        raise BadInput(
            f"the prompt has {len(prompt)} characters; expected at most {LONGEST_PROMPT}",
            'describe the object in a sentence, for example "a red apple"',
        )
    # Controls, halves of characters, and characters that do not exist; the ordinary white space among them is fine.
    broken = [sign for sign in prompt if unicodedata.category(sign) in ("Cc", "Cs", "Cn") and not sign.isspace()]
    if broken:
        raise BadInput(f"the prompt contains the control character U+{ord(broken[0]):04X}", "type it as plain text")
    tidy = " ".join(prompt.split())
    if not tidy:
        raise BadInput("the prompt is empty", 'describe the object in a sentence, for example "a red apple"')
    return tidy


def check_seed(seed: int) -> int:
    """The seed; BadInput unless 0 <= seed < 2**63."""
    if not 0 <= seed < 2**63:
        raise BadInput(f"seed is {seed}; expected 0 <= seed < 2**63", "pass another seed, for example 0")
    return seed
