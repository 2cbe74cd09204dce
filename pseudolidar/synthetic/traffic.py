"""Traffic of streets and highways: parked and moving vehicles, pedestrians, cyclists and persons who sit."""

import math

import numpy as np

from pseudolidar.synthetic import people, vehicles
from pseudolidar.synthetic.preset import CAMERA_HEIGHT_M
from pseudolidar.synthetic.scenery import bench
from pseudolidar.synthetic.street import KERB_HEIGHT_M, Street
from pseudolidar.synthetic.things import Colour, Thing, footprints_overlap, rgb

# Mean length, width, height (m) of KITTI's classes as Frustum PointNet lists them (Qi et al., CVPR 2018), and a spread.
_SIZES = {
    "Car": ((3.883, 1.629, 1.526), (0.42, 0.10, 0.13)),
    "Van": ((5.068, 1.901, 2.205), (0.55, 0.15, 0.22)),
    "Truck": ((10.136, 2.585, 3.252), (2.0, 0.15, 0.30)),
    "Cyclist": ((1.763, 0.597, 1.737), (0.09, 0.08, 0.07)),
}
# A shape's factors on the mean length, width, height, and how common it is.
_CAR_SHAPES = {
    "hatchback": ((0.91, 0.965, 0.985), 0.36),
    "sedan": ((1.05, 1.00, 0.94), 0.24),
    "estate": ((1.06, 1.00, 0.965), 0.18),
    "suv": ((1.01, 1.05, 1.11), 0.16),
    "pickup": ((1.17, 1.05, 1.12), 0.06),
}
_NATURAL_HEIGHT_M = 1.753  # of the meshes of people who stand
_PAINTS: tuple[Colour, ...] = (
    (0.55, 0.56, 0.57), (0.33, 0.34, 0.36), (0.75, 0.75, 0.74), (0.045, 0.045, 0.05), (0.10, 0.11, 0.12),
    (0.42, 0.04, 0.035), (0.05, 0.09, 0.26), (0.10, 0.20, 0.36), (0.06, 0.16, 0.09), (0.40, 0.33, 0.22),
    (0.60, 0.45, 0.06), (0.22, 0.05, 0.06), (0.18, 0.24, 0.28),
)  # fmt: skip
_PAINT_SHARES = np.array([0.19, 0.12, 0.16, 0.12, 0.09, 0.07, 0.06, 0.05, 0.03, 0.04, 0.02, 0.02, 0.03], np.float64)
# Nearer than this, at KITTI's resolution, vehicles and people have finer meshes.
_FINE_VEHICLE_M, _FINE_PERSON_M = 30.0, 16.0


def _cloth(rng: np.random.Generator) -> Colour:
    base = rng.choice([0.03, 0.08, 0.2, 0.5]) * rng.uniform(0.5, 1.5, 3)
    if rng.random() < 0.3:
        base[rng.integers(3)] += rng.uniform(0.1, 0.45)
    return rgb(base)


class Crowd:
    """The things with labels, placed one by one where no other stands."""

    def __init__(self, street: Street, detail: float, rng: np.random.Generator) -> None:
        self.street = street
        self.detail = detail
        self.rng = rng
        self.things: list[Thing] = []
        self._taken = np.zeros((512, 5))
        self._count = 0
        self._take(0.0, -1.0, 9.0, 3.0, -math.pi / 2)  # the car that carries the cameras

    def _take(self, *footprint: float) -> bool:
        """Whether the rectangle x, z, length, width, ry was free; then it is taken."""
        one = np.array(footprint, np.float64)
        if self._count == len(self._taken) or footprints_overlap(self._taken, self._count, one):
            return False
        self._taken[self._count] = one
        self._count += 1
        return True

    def _add(self, thing: Thing, margin: float) -> None:
        length, _, width = thing.size
        x, _, z = thing.position
        if self._take(x, z, length + margin, width + margin, thing.ry):
            self.things.append(thing)

    def vehicle(self, kind: str, s: float, r: float, turn: float, margin: float) -> None:
        """A vehicle at street coordinates, turned against the street's course."""
        rng = self.rng
        x, z, heading = self.street.to_camera(s, r)
        mean, spread = _SIZES[kind]
        factor, name = (1.0, 1.0, 1.0), kind
        if kind == "Car":
            shares = np.array([share for _, share in _CAR_SHAPES.values()], np.float64)
            name = str(rng.choice(list(_CAR_SHAPES), p=shares / shares.sum()))
            factor = _CAR_SHAPES[name][0]
        elif kind == "Van":
            name = str(rng.choice(["van", "camper"]))
        noise = np.clip(rng.normal(0, 1, 3), -2.2, 2.2) * spread * (0.6 if kind == "Car" else 1.0)
        length, width, height = np.array(mean, np.float64) * factor + noise
        seed = float(rng.integers(0, 4000))
        base = np.array(_PAINTS[rng.choice(len(_PAINTS), p=_PAINT_SHARES / _PAINT_SHARES.sum())], np.float64)
        if kind != "Car" and rng.random() < 0.5:
            base = np.array((0.75, 0.75, 0.74), np.float64)
        paint = rgb(base * rng.uniform(0.85, 1.15))
        if kind == "Truck":
            mesh, style = vehicles.truck(), [0.0] * 12
            style[9:12] = [-0.33, 0.36, 0.28]
        else:
            shape = vehicles.SHAPES[name]
            fine = math.hypot(x, z) < _FINE_VEHICLE_M * self.detail
            mesh = vehicles.vehicle(name, int(rng.integers(vehicles.VARIANTS)), fine)
            cabin = shape.cabin or (0.0, 0.0, 0.0, 0.0)
            style = [shape.belt, rng.random(), shape.roof_half_width, rng.uniform(0.1, 0.9), float(rng.random() < 0.5)]
            style += [*cabin, *shape.axles, shape.wheel_height]
        ry = (heading + turn + math.pi) % (2 * math.pi) - math.pi
        thing = Thing(mesh, (x, CAMERA_HEIGHT_M, z), ry, (float(length), float(height), float(width)),
                      (paint, _cloth(rng), _cloth(rng)), seed, tuple(style), kind)  # fmt: skip
        self._add(thing, margin)

    def person(self, kind: str, x: float, z: float, ry: float, raised: bool, margin: float = 0.25) -> None:
        """A pedestrian, a sitter or a cyclist at camera coordinates."""
        rng = self.rng
        fine = math.hypot(x, z) < _FINE_PERSON_M * self.detail
        floor = CAMERA_HEIGHT_M - (KERB_HEIGHT_M if raised else 0.0)
        if kind == "Cyclist":
            mean, spread = _SIZES[kind]
            length, width, height = np.array(mean, np.float64) + np.clip(rng.normal(0, 1, 3), -2, 2) * spread
            mesh, scale = people.cyclist(int(rng.integers(3)), fine), (float(length), float(height), float(width))
        else:
            if kind == "Person_sitting":
                mesh = people.sitter(int(rng.integers(len(people.SITTING))), fine)
            else:
                walks = rng.random() < 0.75
                first, count = (0, len(people.WALKERS)) if walks else (len(people.WALKERS), len(people.STANDERS))
                mesh = people.walker(first + int(rng.integers(count)), fine)
            tall = float(np.clip(rng.normal(1.763, 0.10), 1.45, 2.0)) / 1.763
            stretch = tall * 1.763 / _NATURAL_HEIGHT_M
            broad = stretch * rng.uniform(0.97, 1.18)
            scale = (stretch * rng.uniform(0.86, 1.0), stretch, broad)
            if kind == "Person_sitting":
                scale = (0.88 * stretch, 0.92 * stretch, broad)
        hair = float(rng.choice([0.1, 0.4, 1.0, 1.8]))
        style = (float(rng.random() < 0.2), rng.random(), float(rng.choice([0.35, 0.8, 1.0, 1.1])), hair)
        colours = (_cloth(rng), _cloth(rng), _cloth(rng))
        ry = (ry + math.pi) % (2 * math.pi) - math.pi
        thing = Thing(mesh, (x, floor, z), ry, scale, colours, float(rng.integers(0, 4000)), style, kind)
        self._add(thing, margin)


def _park(crowd: Crowd, side: float, strip: float) -> None:
    street, rng = crowd.street, crowd.rng
    edge = street.edge(side)
    crosswise = strip > 4
    spacing = 2.8 if crosswise else street.slot
    fill = rng.uniform(0.25, 0.6) if crosswise else rng.uniform(0.2, 0.7)
    forward = 0.0 if side > 0 else math.pi
    for s in np.arange(2.0, 75.0, spacing):
        if abs(s - street.crossing) < street.crossing_half + 5 or rng.random() > fill:
            continue
        kind = str(rng.choice(["Car", "Van", "Truck"], p=[0.92, 0.075, 0.005]))
        at = side * (edge - strip / 2 + rng.normal(0, 0.12))
        if crosswise:
            turn = (math.pi / 2 if rng.random() < 0.6 else -math.pi / 2) + rng.normal(0, 0.05)
        else:
            turn = (forward if rng.random() < 0.8 else math.pi - forward) + rng.normal(0, 0.035)
        crowd.vehicle(kind, float(s) + rng.normal(0, 0.25), at, turn, 0.3)


def _drive(crowd: Crowd) -> None:
    street, rng = crowd.street, crowd.rng

    def lane(r: float, turn: float, s: float, end: float, chance: float, gap: tuple[float, float]) -> None:
        while s < end and rng.random() < chance:
            kind = str(rng.choice(["Car", "Van", "Truck"], p=[0.89, 0.08, 0.03]))
            crowd.vehicle(kind, s, r + rng.normal(0, 0.2), turn + rng.normal(0, 0.03), 1.0)
            s += rng.uniform(*gap)

    for r in [street.camera_r] + ([street.lane_line / 2] if street.lane_line > 0 else []):
        lane(r, 0.0, rng.uniform(6.5, 34), 75, 0.62, (8, 35))
    for r in [-street.lane_line * 1.5, -street.lane_line * 0.5] if street.lane_line > 0 else [-1.6]:
        lane(r, math.pi, rng.uniform(5, 30), 80, 0.72, (7, 32))
    if street.crossing < 70:
        for _ in range(int(rng.integers(0, 4))):  # in the side street, to the left or to the right
            heading = rng.choice([-1.0, 1.0])
            at = street.crossing + heading * street.crossing_half * 0.45
            r = rng.uniform(-25, 25)
            crowd.vehicle("Car", at, r, heading * math.pi / 2 + rng.normal(0, 0.06), 0.8)
        for _ in range(int(rng.integers(0, 2))):  # turning
            at = street.crossing + rng.normal(0, 2)
            crowd.vehicle("Car", at, rng.uniform(-4, 4), rng.uniform(-math.pi, math.pi), 0.8)


def _drive_far(crowd: Crowd) -> None:
    """A highway's traffic, from 20 to 80 m."""
    street, rng = crowd.street, crowd.rng
    for side, turn in ((1.0, 0.0), (-1.0, math.pi)):
        for lane in (0.5, 1.5):
            s = rng.uniform(20, 45)
            while s < 80:
                kind = str(rng.choice(["Car", "Van", "Truck"], p=[0.90, 0.07, 0.03]))
                r = side * lane * street.lane_line + rng.normal(0, 0.2)
                crowd.vehicle(kind, s, r, turn + rng.normal(0, 0.02), 1.0)
                s += rng.uniform(11, 32)


def _walk(crowd: Crowd) -> None:
    street, rng = crowd.street, crowd.rng
    mean = {"city": 2.6, "avenue": 2.0, "residential": 1.5, "suburb": 1.0, "country": 0.3}[street.style]
    for _ in range(rng.poisson(mean)):
        s = 4.5 + 36 * rng.beta(1.15, 1.9)
        on_road = rng.random() < 0.28
        if on_road:
            if street.crossing < 45 and rng.random() < 0.6:
                s = street.crossing - street.crossing_half - 2.2 + rng.normal(0, 0.6)
            r = rng.uniform(-street.half_left, street.half_right)
            turn = float(rng.choice([-1, 1])) * math.pi / 2 + rng.normal(0, 0.2)
        else:
            side = rng.choice([-1.0, 1.0], p=[0.4, 0.6])
            edge = street.edge(side)
            r = side * (edge + rng.uniform(0.4, max(street.pavement_width, 1.0)))
            if rng.random() < 0.75:
                turn = float(rng.choice([0.0, math.pi])) + rng.normal(0, 0.25)
            else:
                turn = rng.uniform(-math.pi, math.pi)
            if abs(r - street.camera_r) > 0.8 * s:  # out of the cameras' sight
                s = abs(r - street.camera_r) / 0.7 + rng.uniform(0, 6)
        raised = not on_road and abs(s - street.crossing) > street.crossing_half
        together = int(rng.choice([1, 2, 3], p=[0.72, 0.21, 0.07]))
        for member in range(together):
            gap = member * rng.uniform(0.65, 0.9)
            off_s, off_r = gap * abs(math.sin(turn)), gap * abs(math.cos(turn)) * (1 if r > 0 else -1)
            x, z, heading = street.to_camera(s + off_s, r + off_r)
            crowd.person("Pedestrian", x, z, heading + turn + rng.normal(0, 0.1), raised)


def _ride(crowd: Crowd) -> None:
    street, rng = crowd.street, crowd.rng
    for _ in range(rng.poisson(0.55)):
        s = 5 + 38 * rng.beta(1.2, 1.8)
        forward = rng.random() < 0.6
        strip = street.parking_right if forward else street.parking_left
        edge = street.half_right if forward else street.half_left
        r = (1 if forward else -1) * (edge - strip - rng.uniform(0.5, 1.1))
        x, z, heading = street.to_camera(s, r)
        crowd.person("Cyclist", x, z, heading + (0.0 if forward else math.pi) + rng.normal(0, 0.12), False)


def _sit(crowd: Crowd) -> list[Thing]:
    street, rng = crowd.street, crowd.rng
    benches = []
    for _ in range(int(rng.choice([0, 1, 2], p=[0.72, 0.22, 0.06]))):
        side = float(rng.choice([-1.0, 1.0]))
        s = rng.uniform(9, 30)
        if abs(s - street.crossing) < street.crossing_half + 2:
            continue
        seat = bench(street, s, side, rng)
        benches.append(seat)
        for place in (-0.45, 0.4):
            if rng.random() < 0.65:
                cos, sin = math.cos(seat.ry), math.sin(seat.ry)
                forward = 0.12
                x = seat.position[0] + cos * forward + sin * place
                z = seat.position[2] - sin * forward + cos * place
                crowd.person("Person_sitting", x, z, seat.ry + rng.normal(0, 0.08), True, 0.0)
    return benches


def traffic(street: Street, detail: float, rng: np.random.Generator) -> tuple[list[Thing], list[Thing]]:
    """Things with labels, and the benches that some of them sit on.

    detail: the focal length as a share of KITTI's; it decides how far away meshes may be coarse.
    """
    crowd = Crowd(street, detail, rng)
    if street.style == "highway":
        _drive_far(crowd)
        return crowd.things, []
    benches = _sit(crowd)
    _drive(crowd)
    _walk(crowd)
    _ride(crowd)
    for side, strip in ((-1.0, street.parking_left), (1.0, street.parking_right)):
        if strip > 0:
            _park(crowd, side, strip)
    return crowd.things, benches
