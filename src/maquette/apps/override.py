"""Changing single values of a nested configuration by name, with the type of the value that is there.

This module does not know any configuration: it reads the dataclass that it is given.
"""

import dataclasses
import difflib
import math
from typing import Any, Literal, get_args, get_origin, get_type_hints

from maquette.core.errors import BadInput


def overridden(config: Any, values: dict[str, object]) -> Any:
    """A copy of a frozen dataclass with other values; a name may go deeper with dots ("weights.mask") or with a dict.

    Lists become tuples and whole numbers become floats where those are expected. Raises BadInput for names that are not
    there, with the nearest that is, for values of another type, for NaN, and for what `__post_init__` refuses.
    """
    for name, value in values.items():
        config = _replaced(config, name.split("."), value, name)
    return config


def _replaced(config: Any, path: list[str], value: object, name: str) -> Any:
    hints = get_type_hints(type(config))
    known = [field.name for field in dataclasses.fields(config)]
    if path[0] not in known:
        near = difflib.get_close_matches(path[0], known, n=1) or known
        raise BadInput(f"there is no {name!r} in the configuration", f"did you mean {' or '.join(near)}?")
    current = getattr(config, path[0])
    if len(path) > 1:
        if not dataclasses.is_dataclass(current):
            raise BadInput(f"{path[0]!r} in {name!r} holds a single value", f"set {path[0]} itself")
        return dataclasses.replace(config, **{path[0]: _replaced(current, path[1:], value, name)})
    if dataclasses.is_dataclass(current) and isinstance(value, dict):
        return dataclasses.replace(config, **{path[0]: overridden(current, value)})
    try:
        return dataclasses.replace(config, **{path[0]: _fitting(hints[path[0]], current, value)})
    except TypeError as error:
        raise BadInput(f"{name} = {value!r}; expected {error}", f"it is {current!r} now") from error


def _fitting(hint: object, current: object, value: object) -> object:
    """The value as the type of what it replaces; TypeError says in words what is expected."""
    options = get_args(hint)
    if get_origin(hint) is Literal:
        if value not in options:
            raise TypeError(f"one of {', '.join(map(str, options))}")
        return value
    if value is None and type(None) in options:
        return None
    if isinstance(current, bool):
        return _checked(value, isinstance(value, bool), "true or false")
    if isinstance(current, int):
        return _checked(value, isinstance(value, int) and not isinstance(value, bool), "a whole number")
    if isinstance(current, float):
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return float(_checked(value, is_number, "a finite number"))
    if isinstance(current, tuple):
        items = _checked(value, isinstance(value, list | tuple), "a list such as [0.5, 0.3]")
        return tuple(_fitting(None, current[0], item) if current else item for item in items)
    if isinstance(current, str):
        return _checked(value, isinstance(value, str), "a word")
    if current is None:
        return _checked(value, isinstance(value, int | float | str), "a single value")
    raise TypeError("its parts to be set one by one, as in a.b=1")


def _checked(value: object, is_right: bool, expected: str) -> Any:
    if not is_right:
        raise TypeError(expected)
    return value
