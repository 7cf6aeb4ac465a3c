import json

import torch

from maquette.io import save_health
from maquette.representations import Mesh, examine


def test_health_lies_beside_the_mesh(tmp_path):
    one = Mesh(torch.eye(3), torch.tensor([[0, 1, 2]]))
    path = save_health(tmp_path / "my.first.glb", examine(one, budget=8))
    assert path == tmp_path / "my.first.health.json"
    read = json.loads(path.read_text())
    assert read["faces"] == 1 and read["border_edges"] == 3 and read["budget"] == 8 and read["volume"] is None
    assert read["is_watertight"] is False
