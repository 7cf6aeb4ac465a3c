"""Frozen dataclasses to plain JSON values and back, checked: a number where a number belongs, no unknown names.

This module does not know which dataclasses there are: it reads the types of the fields.
"""

import dataclasses
import math
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from maquette.core.errors import BadInput

_KIND = "kind"


def kind_of(data: type) -> str:
    """The name of a dataclass in JSON: `HalfSpace` is "half_space"."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in data.__name__).lstrip("_")


def encoded(value: Any) -> Any:
    """A dataclass as a dict with its kind and its fields; tuples as lists."""
    if dataclasses.is_dataclass(value):
        own = {field.name: encoded(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {_KIND: kind_of(type(value)), **own}
    if isinstance(value, tuple):
        return [encoded(item) for item in value]
    return value


def decoded(value: object, kinds: Iterable[type], where: str = "the edit") -> Any:
    """The dataclass among `kinds` that a dict describes; BadInput says what is wrong with which field."""
    known = {kind_of(kind): kind for kind in kinds}
    if not isinstance(value, dict) or value.get(_KIND) not in known:
        raise BadInput(
            f"{where} is {str(value)[:80]}; expected an object whose {_KIND!r} is one of {', '.join(known)}",
            "check the name, or update maquette if a newer one wrote it",
        )
    kind = known[value[_KIND]]
    hints = get_type_hints(kind)
    unknown = set(value) - set(hints) - {_KIND}
    missing = {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING} - set(value)
    if unknown or missing:
        what = f"has no field {sorted(unknown)[0]!r}" if unknown else f"lacks {sorted(missing)[0]!r}"
        raise BadInput(f"{value[_KIND]!r} {what}; its fields are {', '.join(hints)}", "check the spelling")
    fields = {name: item for name, item in value.items() if name != _KIND}
    return kind(**{name: _value(hints[name], item, f"{value[_KIND]}.{name}") for name, item in fields.items()})


def _value(hint: Any, value: object, where: str) -> object:
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in options:
            return None
        options = tuple(option for option in options if option is not NoneType)
        if all(dataclasses.is_dataclass(option) for option in options):
            return decoded(value, options, where)
        return _value(options[0], value, where)
    if dataclasses.is_dataclass(hint):
        return decoded(value, (hint,), where)
    if origin is tuple:
        count = None if options[-1] is Ellipsis else len(options)
        if not isinstance(value, list | tuple) or (count is not None and len(value) != count):
            raise _wrong(where, value, f"a list of {count or 'any number of'} values")
        return tuple(_value(options[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is Literal:
        if value not in options:
            raise _wrong(where, value, f"one of {', '.join(map(str, options))}")
        return value
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _wrong(where, value, "a finite number")
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _wrong(where, value, {int: "a whole number", str: "text", bool: "true or false"}[hint])
    return value


def _wrong(where: str, value: object, expected: str) -> BadInput:
    return BadInput(f"{where} is {str(value)[:80]!r}; expected {expected}", "correct it")
