"""Where the knowledge comes from: analytic, pocket and pretrained priors behind one protocol."""

from maquette.priors.coverage import with_coverage
from maquette.priors.protocol import Condition, Encoder, MultiviewPrior

__all__ = ["Condition", "Encoder", "MultiviewPrior", "with_coverage"]
