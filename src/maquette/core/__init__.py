"""What every other floor may use: cameras, rotations, colors, schedules, seeds, devices, events, errors, safe files.

Nothing here knows what is being made. The names load on use, because errors and files must not cost an import of torch.
"""

from maquette.core.lazy import lazy_door

_HOME = {
    "Camera": "camera",
    "look_at": "camera",
    "orbit": "camera",
    "sample_orbit": "camera",
    "turntable": "camera",
    "matrix_to_quat": "rotation",
    "normalize": "rotation",
    "quat_multiply": "rotation",
    "quat_to_matrix": "rotation",
    "PALETTE": "color",
    "linear_to_srgb": "color",
    "srgb_to_linear": "color",
    "BadInput": "errors",
    "MaquetteError": "errors",
    "MissingExtra": "errors",
    "NonFinite": "errors",
    "Unsupported": "errors",
    "Event": "event",
    "Notice": "event",
    "Preview": "event",
    "Progress": "event",
    "Result": "event",
    "Scalar": "event",
    "check_prompt": "inputs",
    "check_seed": "inputs",
    "Streams": "seed",
    "pick_device": "device",
    "Constant": "schedule",
    "Cosine": "schedule",
    "Exponential": "schedule",
    "Linear": "schedule",
    "Schedule": "schedule",
    "Steps": "schedule",
    "atomic_write": "files",
    "prepare_folder": "files",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_door(__name__, {name: f"maquette.core.{module}" for name, module in _HOME.items()})
