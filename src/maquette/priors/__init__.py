"""Where the knowledge comes from: analytic, pocket and pretrained priors behind one protocol."""

from maquette.priors.protocol import Condition, Encoder, MultiviewPrior

__all__ = ["Condition", "Encoder", "MultiviewPrior"]
