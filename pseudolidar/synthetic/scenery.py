"""Scenery: buildings, trees, hedges, poles, signs, fences, guard rails, benches and what closes the horizon."""

import math
from functools import cache

import numpy as np

from pseudolidar.synthetic import materials
from pseudolidar.synthetic.meshes import Mesh, box, ellipsoid, from_vertices, join, loft, tube
from pseudolidar.synthetic.preset import CAMERA_HEIGHT_M
from pseudolidar.synthetic.street import KERB_HEIGHT_M, Street
from pseudolidar.synthetic.things import Colour, Thing, rgb

_FINE_M = 32.0  # nearer than this, at KITTI's resolution, leaves are fine
_PAVED = CAMERA_HEIGHT_M - KERB_HEIGHT_M
_WALLS: tuple[Colour, ...] = (
    (0.62, 0.55, 0.42), (0.70, 0.66, 0.58), (0.55, 0.33, 0.24), (0.66, 0.50, 0.30), (0.48, 0.46, 0.43),
    (0.74, 0.72, 0.68), (0.42, 0.22, 0.16), (0.60, 0.58, 0.48), (0.50, 0.55, 0.52), (0.68, 0.45, 0.36),
)  # fmt: skip
_BRICKS: tuple[Colour, ...] = ((0.40, 0.17, 0.11), (0.48, 0.25, 0.16), (0.33, 0.16, 0.12), (0.52, 0.38, 0.26))
_TRIMS: tuple[Colour, ...] = ((0.75, 0.74, 0.70), (0.55, 0.50, 0.44), (0.30, 0.24, 0.20), (0.68, 0.66, 0.60))
_ROOFS: tuple[Colour, ...] = ((0.33, 0.13, 0.08), (0.14, 0.13, 0.13), (0.25, 0.16, 0.12), (0.40, 0.18, 0.11))


@cache
def _block(balconies: bool, gable: bool) -> Mesh:
    """A building in the unit box but for its roof and balconies; the front looks along +x."""
    parts = [box((1.0, 1.0, 1.0), materials.FACADE)]
    if gable:
        eaves = [[0.53, -0.52, 1.0], [0.53, 0.52, 1.0], [-0.53, 0.52, 1.0], [-0.53, -0.52, 1.0]]
        ridge = np.array([*eaves, [0, -0.52, 1.34], [0, 0.52, 1.34]], np.float64)
        faces = np.array([[0, 1, 5], [0, 5, 4], [2, 3, 4], [2, 4, 5], [3, 0, 4], [1, 2, 5], [0, 3, 2], [0, 2, 1]])
        parts.append(from_vertices(ridge, faces, materials.ROOF, False))
        parts.append(box((0.07, 0.06, 0.2), materials.CONCRETE, (0.15, 0.2, 1.18)))
    else:
        parts.append(box((1.02, 1.02, 0.03), materials.CONCRETE, (0, 0, 1.0)))
    if balconies:
        for column in (-0.3, 0.0, 0.3):
            for level in (0.32, 0.52, 0.72):
                parts.append(box((0.12, 0.13, 0.012), materials.CONCRETE, (0.55, column, level)))
                parts.append(box((0.006, 0.13, 0.07), materials.PLAIN, (0.605, column, level)))
    return join(parts)


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    base = np.array(colours[rng.integers(len(colours))], np.float64)
    return rgb(base * rng.uniform(0.8, 1.15) * rng.uniform(0.95, 1.05, 3))


def _building(street: Street, s: float, side: float, width: float, rng: np.random.Generator, far: float = 0.0) -> Thing:
    edge = street.edge(side)
    depth = rng.uniform(9, 14)
    tall = street.style in ("city", "avenue")
    storeys = int(rng.integers(3, 7)) if tall else int(rng.integers(1, 4))
    storey = rng.uniform(2.8, 3.3)
    setback = street.pavement_width + street.setback * rng.uniform(0.6, 1.2) + far
    x, z, heading = street.to_camera(s, side * (edge + setback + depth / 2))
    kind = float(rng.choice([0, 1, 2, 3, 4], p=[0.46, 0.26, 0.08, 0.14, 0.06]))
    wall = _pick(rng, _BRICKS if kind == 1 else _WALLS)
    # One plaster wall in three has nothing on it that a matcher could grip.
    contrast = 0.12 if kind in (0, 4) and rng.random() < 0.33 else rng.uniform(0.7, 1.2)
    shop = float(tall and rng.random() < 0.55)
    mesh = _block(bool(tall and rng.random() < 0.3), bool(rng.random() < (0.35 if tall else 0.85)))
    style = (rng.uniform(1.7, 3.4), storey, rng.uniform(0.34, 0.62), kind, shop, contrast)
    ry = heading + (-math.pi / 2 if side > 0 else math.pi / 2)
    size = (depth, storeys * storey + rng.uniform(0.4, 1.0), width)
    colours = (wall, _pick(rng, _TRIMS), _pick(rng, _ROOFS))
    return Thing(mesh, (x, _PAVED, z), ry, size, colours, float(rng.integers(0, 3000)), style)


def buildings(street: Street, rng: np.random.Generator) -> list[Thing]:
    """Rows of buildings along a street's sides, gaps in them by the style; walls of houses where the views end."""
    if street.style == "highway":
        return []
    gap = {"city": 0.06, "avenue": 0.15, "residential": 0.35, "suburb": 0.62, "country": 0.95}[street.style]
    found = []
    for start, end in street.blocks():
        for side in (-1.0, 1.0):
            s = max(start + rng.uniform(0.2, 1.5), -18.0)
            limit = min(end, 150.0)
            while s < limit - 5:
                width = min(rng.uniform(8, 22) if street.style in ("city", "avenue") else rng.uniform(8, 15), limit - s)
                if rng.random() > gap:
                    found.append(_building(street, s + width / 2, side, width - 0.05, rng))
                    if street.style in ("residential", "suburb"):
                        width += rng.uniform(1, 6)
                s += width
    for side in (-1.0, 1.0):  # behind the gaps and at the side street's ends
        for s in np.arange(-20, 150, 26.0):
            if street.style == "country":
                continue
            at = float(s) + rng.uniform(-4, 4)
            found.append(_building(street, at, side, rng.uniform(18, 25), rng, rng.uniform(32, 45)))
    return found


def _clump(centre: tuple[float, float, float], radius: float, fine: bool, rng: np.random.Generator) -> list[Mesh]:
    """A ball of leaves with a ragged skin, and loose leaves about it."""
    around, stacks = (8, 5) if fine else (6, 4)
    crown = ellipsoid(centre, (radius, radius, radius * 0.85), materials.LEAF, around, stacks)
    middle = np.array([centre[0], -centre[2], centre[1]], np.float32)
    # Corners that meet move together: the shift comes from the direction, through waves of its own for each clump.
    out = crown.corners - middle
    waves, phase = rng.normal(0, 4.5 / radius, (4, 3)), rng.uniform(0, 6, 4)
    bumps = 1 + 0.11 * np.sin(out @ waves.T + phase).sum(-1, keepdims=True)
    skin = Mesh((middle + out * bumps).astype(np.float32), crown.normals, crown.material)
    count = 44
    leaves = rng.normal(0, 1, (count, 3))
    leaves *= radius * rng.uniform(0.88, 1.2, (count, 1)) / np.linalg.norm(leaves, axis=1, keepdims=True)
    points = (np.array(centre, np.float64) + leaves)[:, None] + rng.normal(0, 0.11, (count, 3, 3))
    points = points if fine else points[::6] + (points[::6] - points[::6].mean(1, keepdims=True)) * 0.8
    loose = from_vertices(points.reshape(-1, 3), np.arange(3 * len(points)).reshape(-1, 3), materials.LEAF, False)
    outward = np.repeat((loose.corners.mean(1) - middle)[:, None], 3, axis=1)
    outward /= np.linalg.norm(outward, axis=2, keepdims=True)
    return [skin, Mesh(loose.corners, outward.astype(np.float32), loose.material)]


@cache
def _tree(number: int, fine: bool) -> Mesh:
    """A tree of about 7 m: trunk, boughs and clumps of leaves."""
    rng = np.random.default_rng([77, number])
    slim = number % 3 == 2
    trunk = (rng.normal(0, 0.08), rng.normal(0, 0.08), 2.6)
    parts = [tube((0, 0, 0), trunk, (0.17, 0.11), materials.BARK, 8 if fine else 5)]
    clumps = (8 if slim else 11) - (0 if fine else 2)
    for clump in range(clumps):
        share = clump / (clumps - 1)
        spread = (0.35 if slim else 1.25) * math.sin(math.pi * (0.25 + 0.6 * share))
        angle = 2.4 * clump + rng.uniform(-0.5, 0.5)
        centre = (spread * math.cos(angle), spread * math.sin(angle), 2.8 + share * (4.0 if slim else 3.0))
        radius = rng.uniform(0.65, 1.1) * (0.7 if slim else 1.0) * (1.1 - 0.4 * share)
        parts += _clump(centre, radius, fine, rng)
        if fine:
            parts.append(tube((0, 0, 2.0), centre, (0.07, 0.03), materials.BARK, 4))
    return join(parts).settled()


@cache
def _bush(number: int, fine: bool) -> Mesh:
    rng = np.random.default_rng([78, number])
    parts: list[Mesh] = []
    for centre in rng.uniform([-0.4, -0.4, 0.25], [0.4, 0.4, 0.6], (4, 3)):
        parts += _clump((float(centre[0]), float(centre[1]), float(centre[2])), rng.uniform(0.35, 0.55), fine, rng)
    return join(parts).settled()


@cache
def _lamp_post() -> Mesh:
    arm = tube((0, 0, 6.6), (1.6, 0, 7.0), 0.045, materials.PLAIN, 6)
    pole = tube((0, 0, 0), (0, 0, 6.7), (0.09, 0.055), materials.PLAIN, 8)
    return join([pole, arm, box((0.6, 0.22, 0.12), materials.LAMP, (1.7, 0, 6.94))])


@cache
def _sign(shape: str) -> Mesh:
    pole = tube((0, 0, 0), (0, 0, 2.5), 0.035, materials.PLAIN, 7)
    corner = {"round": 16, "triangle": 3, "square": 4}[shape]
    angle = np.arange(corner) * (2 * math.pi / corner) + (math.pi / 2 if corner == 3 else math.pi / 4)
    ring = np.stack([np.zeros(corner), 0.34 * np.cos(angle), 2.2 + 0.34 * np.sin(angle)], -1)
    plate = loft(ring + np.array([[[0.04, 0, 0]], [[0.06, 0, 0]]]), materials.SIGN, smooth=False)
    return join([pole, plate])


@cache
def _traffic_light() -> Mesh:
    pole = tube((0, 0, 0), (0, 0, 3.3), 0.055, materials.PLAIN, 7)
    head = box((0.25, 0.32, 0.95), materials.DARK, (0.12, 0, 2.4))
    lights = [ellipsoid((0.25, 0, 2.58 + 0.29 * k), (0.03, 0.1, 0.1), materials.LAMP, 8, 4) for k in range(3)]
    return join([pole, head, *lights])


@cache
def _cuboid(material: int) -> Mesh:
    return box((1, 1, 1), material)


@cache
def _bench() -> Mesh:
    wood, dark = materials.WOOD, materials.DARK
    parts = [box((0.12, 1.7, 0.04), wood, (x, 0, 0.43)) for x in (-0.16, 0.0, 0.16)]
    parts += [box((0.04, 1.7, 0.11), wood, (-0.28, 0, z)) for z in (0.56, 0.72, 0.88)]
    parts += [box((0.45, 0.06, 0.44), dark, (0, side, 0)) for side in (-0.7, 0.7)]
    parts += [box((0.05, 0.06, 0.95), dark, (-0.26, side, 0)) for side in (-0.7, 0.7)]
    return join(parts)


@cache
def _fence() -> Mesh:
    """A railing, 5 m long."""
    bars = [tube((0, y, 0), (0, y, 1.05), 0.02, materials.PLAIN, 3) for y in np.arange(-2.4, 2.5, 0.3)]
    rails = [box((0.035, 5.0, 0.05), materials.PLAIN, (0, 0, z)) for z in (0.12, 0.95)]
    return join([*bars, *rails])


@cache
def _guard_rail() -> Mesh:
    """A rail on two posts, 5 m long."""
    posts = [box((0.08, 0.12, 0.7), materials.PLAIN, (-0.08, y, 0)) for y in (-1.25, 1.25)]
    return join([box((0.05, 5.0, 0.3), materials.PLAIN, (0, 0, 0.45)), *posts])


@cache
def _bin() -> Mesh:
    can, lid = tube((0, 0, 0), (0, 0, 0.85), (0.23, 0.27), materials.PLAIN, 10), (0.28, 0.28, 0.08)
    return join([can, ellipsoid((0, 0, 0.87), lid, materials.DARK, 10, 4)])


def _leaf_colour(rng: np.random.Generator) -> Colour:
    tone = rng.uniform(0.7, 1.3)
    return rgb((0.13 * tone * rng.uniform(0.8, 1.5), 0.19 * tone, 0.06 * tone * rng.uniform(0.6, 1.3)))


def bench(street: Street, s: float, side: float, rng: np.random.Generator) -> Thing:
    """A bench at the back of the pavement that looks at the street."""
    edge = street.edge(side)
    x, z, heading = street.to_camera(s, side * (edge + street.pavement_width - 0.5))
    ry = heading + (-math.pi / 2 if side > 0 else math.pi / 2)
    colours = ((0.2, 0.2, 0.2), (0.30, 0.19, 0.11))
    return Thing(_bench(), (x, _PAVED, z), ry, colours=colours, seed=float(rng.integers(900)))


def furniture(street: Street, detail: float, rng: np.random.Generator) -> list[Thing]:
    """Trees, lamp posts, signs, hedges, fences, rails and bins beside the road; hills and woods at the horizon.

    detail: the focal length as a share of KITTI's; it decides how far away leaves may be coarse.
    """
    found = []
    brown: Colour = (0.17, 0.12, 0.08)
    tree_chance = {"city": 0.4, "avenue": 0.85, "residential": 0.6, "suburb": 0.8}.get(street.style, 0.6)

    def stand(mesh: Mesh, s: float, r: float, turn: float, **other: object) -> None:
        x, z, heading = street.to_camera(s, r)
        found.append(Thing(mesh, (x, _PAVED, z), heading + turn, seed=float(rng.integers(2000)), **other))  # type: ignore[arg-type]

    for start, end in street.blocks():
        start, end = max(start, -10.0) + 2.0, min(end, 115.0) - 2.0
        for side in (-1.0, 1.0):
            edge = street.edge(side)
            inward = -math.pi / 2 if side > 0 else math.pi / 2
            if rng.random() < tree_chance:
                for s in np.arange(start, end, rng.uniform(8, 15)):
                    if rng.random() < 0.75:
                        size, at = rng.uniform(0.7, 1.3), side * (edge + rng.uniform(0.7, 1.0))
                        tree = _tree(int(rng.integers(9)), bool(s < _FINE_M * detail))
                        where, turn = float(s) + rng.uniform(-1, 1), rng.uniform(0, 6)
                        scale = (size, size * rng.uniform(0.9, 1.15), size)
                        stand(tree, where, at, turn, scale=scale, colours=(_leaf_colour(rng), brown))
            grey = float(rng.uniform(0.12, 0.4))
            for s in np.arange(start + rng.uniform(0, 15), end, rng.uniform(22, 32)):
                stand(_lamp_post(), float(s), side * (edge + 0.5), inward, colours=((grey, grey, grey * 1.03),))
            for s in rng.uniform(start, max(end, start + 1), int(rng.integers(1, 5))):
                colour = ((0.5, 0.5, 0.5), (0.62, 0.03, 0.03), (0.75, 0.75, 0.75))
                if rng.random() < 0.4:
                    colour = ((0.5, 0.5, 0.5), (0.75, 0.75, 0.75), (0.03, 0.12, 0.5))
                shape = str(rng.choice(["round", "triangle", "square"]))
                turn = math.pi if rng.random() < 0.8 else 0.0
                at = side * (edge + rng.uniform(0.4, 0.7))
                stand(_sign(shape), float(s), at, turn, colours=colour, style=(2.2, 0.34))
            if street.style == "highway":
                for s in np.arange(start, end, 5.0):
                    stand(_guard_rail(), float(s), side * (edge + 0.3), inward, colours=((0.35, 0.36, 0.38),))
            bins = 0 if street.style == "highway" else int(rng.integers(0, 4))
            for s in rng.uniform(start, max(end, start + 1), bins):
                tone = rng.uniform(0.03, 0.3, 3)
                stand(_bin(), float(s), side * (edge + street.pavement_width - 0.4), 0.0, colours=(rgb(tone),))
            if street.setback > 2.0:  # front gardens: hedges, walls, railings, trees, bushes
                back = edge + street.pavement_width + 0.3
                border = rng.choice(["hedge", "wall", "fence", "none"], p=[0.4, 0.2, 0.2, 0.2])
                for s in np.arange(start, end - 5, 5.0):
                    if border == "none" or rng.random() < 0.15:
                        continue
                    height = float(rng.uniform(0.8, 1.6))
                    if border == "fence":
                        stand(_fence(), float(s) + 2.5, side * back, inward, colours=((0.10, 0.11, 0.10),))
                    else:
                        material = materials.HEDGE if border == "hedge" else materials.CONCRETE
                        tint = _leaf_colour(rng) if border == "hedge" else (0.42, 0.39, 0.35)
                        scale = (0.7 if border == "hedge" else 0.25, height, 4.95)
                        wall = _cuboid(material)
                        stand(wall, float(s) + 2.5, side * back, inward, scale=scale, colours=(tint, brown))
                for s in rng.uniform(start, max(end, start + 1), int(rng.integers(3, 9))):
                    size = float(rng.uniform(0.7, 1.6))
                    at = side * (back + rng.uniform(0.8, max(street.setback - 0.5, 1.0)))
                    fine, is_tree = bool(s < _FINE_M * detail), rng.random() < 0.3
                    mesh = _tree(int(rng.integers(9)), fine) if is_tree else _bush(int(rng.integers(5)), fine)
                    turn, scale = rng.uniform(0, 6), (size, size, size)
                    stand(mesh, float(s), at, turn, scale=scale, colours=(_leaf_colour(rng), brown))
    if street.crossing < 500 and rng.random() < 0.5:
        for side in (-1.0, 1.0):
            edge = street.edge(side)
            s = street.crossing - street.crossing_half - 0.8
            stand(_traffic_light(), s, side * (edge + 0.5), math.pi, colours=((0.2, 0.2, 0.2),))
    found.append(_horizon(street, rng))
    return found


def _horizon(street: Street, rng: np.random.Generator) -> Thing:
    """A ring of woods and roofs that hides where the world ends."""
    angle = np.linspace(0, math.pi, 90)
    height = 5 + 9 * np.abs(np.convolve(rng.normal(0, 1, 96), np.ones(7) / 2.6, "valid"))
    # From below the ground, for where it falls.
    low = np.stack([200 * np.sin(angle) + 20, 190 * np.cos(angle), np.full(90, -9.0)], -1)
    high = low + np.stack([np.zeros(90), np.zeros(90), height + 8], -1)
    grid = np.stack([low, high], 1).reshape(-1, 3)
    at = np.arange(89) * 2
    faces = np.concatenate([np.stack([at, at + 1, at + 3], -1), np.stack([at, at + 3, at + 2], -1)])
    mesh = from_vertices(grid, faces, materials.HILL, False)
    tint = _leaf_colour(rng)
    hazy = (0.12 + 0.5 * tint[0], 0.14 + 0.5 * tint[1], 0.15 + 0.5 * tint[2])
    return Thing(mesh, (0.0, CAMERA_HEIGHT_M, 0.0), -math.pi / 2, colours=(hazy,), seed=street.seed)
