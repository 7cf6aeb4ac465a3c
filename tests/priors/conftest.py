"""Lists of words with what a person would accept for each."""

import pytest


def _rows(table: str) -> list[tuple[str, list[str]]]:
    """(word, accepted answers) for each line."""
    lines = [line.partition(": ") for line in table.strip().splitlines()]
    return [(word, answers.split(", ")) for word, _, answers in lines]


@pytest.fixture(scope="session")
def rows():
    return _rows


@pytest.fixture(scope="session")
def assert_accurate():
    """Of a list, a share of at least `floor` is answered as a person would."""

    def check(table: str, answer, floor: float) -> None:
        answers = [(word, answer(word), accepted) for word, accepted in _rows(table)]
        wrong = [row for row in answers if row[1] not in row[2]]
        assert len(wrong) <= (1 - floor) * len(answers), wrong

    return check
