"""One paper, one file: each a generator of events that ends in a Result."""

PIPELINES = {
    "im3d": "maquette.pipelines.im3d",
    "ge3d": "maquette.pipelines.ge3d",
    "lucid": "maquette.pipelines.lucid",
    "interactive3d": "maquette.pipelines.interactive3d",
    "dreamgaussian": "maquette.pipelines.dreamgaussian",
    "gaussiandreamer": "maquette.pipelines.gaussiandreamer",
    "gsgen": "maquette.pipelines.gsgen",
    "dreamfusion": "maquette.pipelines.dreamfusion",
    "sjc": "maquette.pipelines.sjc",
    "magic3d": "maquette.pipelines.magic3d",
    "fantasia3d": "maquette.pipelines.fantasia3d",
    "prolificdreamer": "maquette.pipelines.prolificdreamer",
    "gaussian-anything": "maquette.pipelines.gaussian_anything",
}
"""Name -> module; the module has `Config`, the presets `PAPER`, `DEFAULT` and `TINY`, and `run`. Imported on use."""

__all__ = ["PIPELINES"]
