"""What is right and wrong with a mesh, as a JSON file beside the mesh's own."""

import json
from pathlib import Path

from maquette.core.files import atomic_write
from maquette.representations.health import Health


def save_health(mesh_path: str | Path, health: Health) -> Path:
    """Write NAME.health.json beside NAME.glb, whole or not at all; its path."""
    path = Path(mesh_path).with_suffix(".health.json")
    with atomic_write(path, "w") as file:
        file.write(json.dumps(health.to_json(), indent=2, allow_nan=False) + "\n")
    return path
