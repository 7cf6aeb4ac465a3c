"""Where the knowledge comes from: analytic, pocket and pretrained priors behind one protocol."""

from maquette.core.lazy import lazy_door

_HOME = {
    "Condition": "protocol",
    "Encoder": "protocol",
    "MultiviewPrior": "protocol",
    "with_coverage": "coverage",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_door(__name__, {name: f"maquette.priors.{module}" for name, module in _HOME.items()})
