"""What schedulers of diffusers do not give: conversions among predictions, and paths as plain functions."""

from maquette.diffusion.classifier_free import guide
from maquette.diffusion.predict import eps_from_v, eps_from_x0, v_from_eps, v_from_x0, x0_from_eps, x0_from_v
from maquette.diffusion.trajectory import (
    add_noise,
    alpha_bar_at,
    ddim,
    dpm_solver_pp,
    dpm_solver_pp_states,
    level_of,
    scaled_linear,
    times,
)

__all__ = [
    "add_noise",
    "alpha_bar_at",
    "ddim",
    "dpm_solver_pp",
    "dpm_solver_pp_states",
    "eps_from_v",
    "eps_from_x0",
    "guide",
    "level_of",
    "scaled_linear",
    "times",
    "v_from_eps",
    "v_from_x0",
    "x0_from_eps",
    "x0_from_v",
]
