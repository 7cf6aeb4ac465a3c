"""Scores of finished assets, by an encoder that never guided them."""

from maquette.core.lazy import lazy_door

_HOME = {
    "saturation": "appearance",
    "sharpness": "appearance",
    "Assets": "suite",
    "Features": "features",
    "Network": "features",
    "bake_psnr": "baked",
    "examine_baked": "baked",
    "janus_by_reference": "consistency",
    "janus_by_text": "consistency",
    "reprojection": "consistency",
    "chamfer": "geometry",
    "chamfer_matrix": "coverage",
    "distances": "suite",
    "extract": "features",
    "f_score": "geometry",
    "frechet_distance": "frechet",
    "look_at": "suite",
    "nearest": "geometry",
    "surface_points": "geometry",
    "psnr": "image",
    "silhouette_iou": "image",
    "real_views": "real",
    "evaluate_prompts": "run",
    "Item": "scoring",
    "Scores": "scoring",
    "score": "scoring",
    "mean_view": "text",
    "precision": "text",
    "ranks": "text",
    "similarity": "text",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_door(__name__, {name: f"maquette.evaluation.{module}" for name, module in _HOME.items()})
