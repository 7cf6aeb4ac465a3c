import pickle

import pytest

from maquette.core import BadInput, MaquetteError, MissingExtra, NonFinite, Unsupported


@pytest.mark.parametrize(
    ("kind", "builtin", "exit_code"),
    [(BadInput, ValueError, 2), (MissingExtra, ImportError, 2), (NonFinite, ArithmeticError, 1),
     (Unsupported, NotImplementedError, 1)],
)  # fmt: skip
def test_each_kind_is_one_of_the_family_and_a_builtin_and_survives_pickling(kind, builtin, exit_code):
    error = kind("seed is -1", "pass 0")
    assert isinstance(error, MaquetteError)
    assert isinstance(error, builtin)
    assert str(error) == "seed is -1; pass 0"
    assert error.exit_code == exit_code
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.next_step) == (kind, "seed is -1", "pass 0")
