from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.core import BadInput, check_prompt, check_seed


@given(st.text())
def test_whatever_comes_it_is_tidy_or_refused(text):
    with suppress(BadInput):
        tidy = check_prompt(text)
        assert tidy == " ".join(text.split()) != ""
        assert "\0" not in tidy
        assert tidy.encode()  # no halves of characters
        assert check_prompt(tidy) == tidy


@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        ("", "empty"),
        (" \t\n ", "empty"),
        ("x" * 100_000, "100000 characters"),
        ("a red\0apple", r"U\+0000"),
        ("a \x1b[31mred apple", r"U\+001B"),
        ("half a pair \ud83c", r"U\+D83C"),
    ],
)
def test_broken_prompts_are_refused_by_name(prompt, complaint):
    with pytest.raises(BadInput, match=complaint):
        check_prompt(prompt)


def test_other_languages_emoji_and_paths_are_only_text():
    for prompt in ("ein grüner Apfel", "تفاحة حمراء", "🍎 apple", "../../etc/passwd", "👩‍🚀"):
        assert check_prompt(prompt) == prompt


def test_seeds():
    assert check_seed(0) == 0
    assert check_seed(2**63 - 1) == 2**63 - 1
    for seed in (-1, 2**63):
        with pytest.raises(BadInput):
            check_seed(seed)
