"""Two objects in one scene, and the sentence that says how they stand to each other.

Any two may stand on or beside each other; people ride animals, hold tools, and wear hats. The words are those that the
captions know: "on" for riding, "with" for holding and wearing. Nothing is random but by the given NumPy generator.
"""

import numpy as np

from maquette.data.captions import composed
from maquette.data.shards import CaptionedMesh

RELATIONS = ("on", "on top of", "next to", "beside")
PEOPLE = frozenset("alien astronaut character knight mage man pirate robot rogue skeleton soldier woman zombie".split())
MOUNTS = frozenset(("bird", "car", "dinosaur", "dog", "fish", "horse", "race car", "shark", "tank", "tractor", "whale"))
HELD = frozenset("axe bow dagger flag gun hammer knife lantern shield shovel spoon staff sword torch".split())
HATS = frozenset(("crown", "helmet", "knight helmet"))  # nouns


def compose(first: CaptionedMesh, second: CaptionedMesh, draw: np.random.Generator) -> CaptionedMesh:
    """One scene of two objects, as their kinds allow: `first` rides, wears, or holds `second`, or stands by it."""
    if first.category in PEOPLE and second.category in MOUNTS:
        return _scene(
            *_riding(first.vertices * np.float32(draw.uniform(0.7, 1.0)), second.vertices), first, second, "on"
        )
    if first.category in PEOPLE and second.noun in HATS:
        return _scene(first.vertices, _worn(first.vertices, second.vertices), first, second, "with")
    if first.category in PEOPLE and second.category in HELD:
        tool = second.vertices * np.float32(draw.uniform(0.5, 0.8))
        return _scene(first.vertices, _held(first.vertices, tool), first, second, "with")
    relation = RELATIONS[draw.integers(len(RELATIONS))]
    a, b = first.vertices * np.float32(draw.uniform(0.55, 0.9)), second.vertices
    if relation.startswith("on"):
        a = a - np.array([0, a[:, 1].min() - b[:, 1].max() + 0.02, 0], np.float32)
    else:
        a = a - np.array([a[:, 0].max() - b[:, 0].min() + 0.06, a[:, 1].min() - b[:, 1].min(), 0], np.float32)
    return _scene(a, b, first, second, relation)


def related(mesh: CaptionedMesh) -> bool:
    """Whether a person may ride, hold, or wear it."""
    return mesh.category in MOUNTS or mesh.category in HELD or mesh.noun in HATS


def _scene(a: np.ndarray, b: np.ndarray, first: CaptionedMesh, second: CaptionedMesh, relation: str) -> CaptionedMesh:
    vertices = np.concatenate([a, b])
    low, high = vertices.min(0), vertices.max(0)
    return CaptionedMesh(
        key=f"{first.key}+{second.key}",
        vertices=((vertices - (low + high) / 2) / max(float((high - low).max()), 1e-6)).astype(np.float32),
        faces=np.concatenate([first.faces, second.faces + len(a)]).astype(np.int32),
        colors=np.concatenate([first.colors, second.colors]),
        captions=(composed(first.noun, second.noun, relation),),
        noun=first.noun,
        category=first.category,
    )


def _riding(rider: np.ndarray, mount: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rider's seat, a quarter of the way up, on the mount's back: its highest point near the middle."""
    reach = 0.2 * (mount.max(0) - mount.min(0))
    middle = (mount.max(0) + mount.min(0)) / 2
    near = (np.abs(mount - middle) <= reach)[:, [0, 2]].all(1)
    back = mount[near, 1].max() if near.any() else mount[:, 1].max()
    low, high = rider.min(0), rider.max(0)
    seat = np.array([(low[0] + high[0]) / 2, low[1] + 0.25 * (high[1] - low[1]), (low[2] + high[2]) / 2])
    return rider + (np.array([middle[0], back, middle[2]]) - seat).astype(np.float32), mount


def _worn(person: np.ndarray, hat: np.ndarray) -> np.ndarray:
    """The hat a little wider than the head (the top tenth of a person), and pulled over its upper half."""
    top, height = person[:, 1].max(), np.ptp(person[:, 1])
    head = person[person[:, 1] > top - 0.1 * height]
    middle = (head.max(0) + head.min(0)) / 2
    width = max(float(np.ptp(head[:, [0, 2]], axis=0).max()), 0.1 * float(height))
    hat = hat * np.float32(1.2 * width / max(float(np.ptp(hat[:, [0, 2]], axis=0).max()), 1e-6))
    foot = np.array([(hat[:, 0].max() + hat[:, 0].min()) / 2, hat[:, 1].min(), (hat[:, 2].max() + hat[:, 2].min()) / 2])
    return hat + (np.array([middle[0], top - 0.08 * height, middle[2]]) - foot).astype(np.float32)


def _held(person: np.ndarray, tool: np.ndarray) -> np.ndarray:
    """The tool upright in the hand: its grip, a quarter of the way up, at the points farthest to one side."""
    hand = person[person[:, 0] >= person[:, 0].max() - 0.05 * np.ptp(person[:, 0])].mean(0)
    low, high = tool.min(0), tool.max(0)
    grip = np.array([(low[0] + high[0]) / 2, low[1] + 0.25 * (high[1] - low[1]), (low[2] + high[2]) / 2])
    return tool + (hand - grip).astype(np.float32)
