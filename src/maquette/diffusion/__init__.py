"""What schedulers of diffusers do not give: conversions among predictions, and paths as plain functions."""

from maquette.diffusion.annealing import (
    TimeRange,
    dreamtime,
    dreamtime_bell,
    dreamtime_plateau,
    linear_time,
    sqrt_time,
    time_of,
)
from maquette.diffusion.classifier_free import guide
from maquette.diffusion.conditioning import (
    ViewBlend,
    blend_views,
    blend_views_shifted,
    perp_neg,
    view_of,
    view_prompt,
)
from maquette.diffusion.inversion import (
    ddim_states,
    denoise_guided,
    negative_prompt_inversion,
    null_text_inversion,
    prompt_tuning_inversion,
    trace,
    transfer,
)
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
    "TimeRange",
    "ViewBlend",
    "add_noise",
    "alpha_bar_at",
    "blend_views",
    "blend_views_shifted",
    "ddim",
    "ddim_states",
    "denoise_guided",
    "dpm_solver_pp",
    "dpm_solver_pp_states",
    "dreamtime",
    "dreamtime_bell",
    "dreamtime_plateau",
    "eps_from_v",
    "eps_from_x0",
    "guide",
    "level_of",
    "linear_time",
    "negative_prompt_inversion",
    "null_text_inversion",
    "perp_neg",
    "prompt_tuning_inversion",
    "scaled_linear",
    "sqrt_time",
    "time_of",
    "times",
    "trace",
    "transfer",
    "v_from_eps",
    "v_from_x0",
    "view_of",
    "view_prompt",
    "x0_from_eps",
    "x0_from_v",
]
