"""Doors that open on use: a package whose names are imported when somebody asks for them (PEP 562).

`import maquette` must stay far below the time that importing torch takes, so the front door and the door of `core`
name what they offer and import nothing. This module does not know what is behind any door.
"""

import sys
from collections.abc import Callable
from importlib import import_module


def lazy_door(package: str, names: dict[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package that offers `names` (public name -> module that defines it).

    The first access imports the module and stores the name in the package, so later accesses cost nothing.
    """

    def __getattr__(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(names[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted(set(vars(sys.modules[package])) | set(names))

    return __getattr__, __dir__
