"""Taking hold of an asset: edits as values, selections, and the session that keeps them.

It knows geometry and files; some edits have words, and leave their meaning to a prior. `apply(edit, scene)` is
pure; `Session` adds history, undo and durability.
"""

from maquette.core.lazy import lazy_door

_HOME = {
    "ALL": "scene",
    "Change": "scene",
    "Scene": "scene",
    "scene_hash": "scene",
    "Box": "regions",
    "ColorNear": "regions",
    "Component": "regions",
    "Everything": "regions",
    "Grow": "regions",
    "HalfSpace": "regions",
    "Inverse": "regions",
    "Named": "regions",
    "Shrink": "regions",
    "Sphere": "regions",
    "Masks": "masks",
    "View": "masks",
    "view": "masks",
    "Segment": "pick",
    "SelectClick": "pick",
    "Shot": "pick",
    "click": "pick",
    "clicked_views": "pick",
    "shot": "pick",
    "Forget": "select",
    "Select": "select",
    "Duplicate": "transform",
    "Mirror": "transform",
    "Move": "transform",
    "Rotate": "transform",
    "Stretch": "transform",
    "Paste": "combine",
    "Remove": "combine",
    "Drag": "drag",
    "GuidedDrag": "guided_drag",
    "Latent": "latent",
    "Refine": "refine",
    "Regenerate": "regenerate",
    "Repaint": "repaint",
    "Edit": "edit",
    "Report": "edit",
    "Sources": "edit",
    "apply": "edit",
    "from_json": "edit",
    "is_worded": "edit",
    "to_json": "edit",
    "Session": "session",
    "check_vacant": "session",
    "save_scene_file": "export",
    "read_log": "journal",
    "replay": "rerun",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_door(__name__, {name: f"maquette.edit.{module}" for name, module in _HOME.items()})
