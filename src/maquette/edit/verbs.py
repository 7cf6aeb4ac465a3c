"""Edits as methods of a session: `session.move("head", (0, 0.1, 0))` is `session.do(Move("head", (0, 0.1, 0)))`.

Nothing is decided here: a method takes the fields of its edit, in their order. This module knows neither.
"""

import inspect
from collections.abc import Callable

from maquette.edit.values import kind_of


def method(kind: type) -> Callable:
    """A method that makes an edit of this kind from its arguments and does it; its signature and docstring agree."""

    def act(self, *args, **kwargs):
        return self.do(kind(*args, **kwargs))

    own = inspect.signature(kind)
    receiver = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    act.__signature__ = inspect.Signature([receiver, *own.parameters.values()])
    act.__name__ = kind_of(kind)
    act.__qualname__ = f"Session.{act.__name__}"
    act.__doc__ = kind.__doc__
    return act
