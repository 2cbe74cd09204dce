"""Meshes of cars, vans and trucks: lofted bodies, cabins and wheels, each filling the unit box."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pseudolidar.synthetic import materials
from pseudolidar.synthetic.meshes import Mesh, box, join, loft


@dataclass(frozen=True)
class VehicleShape:
    """A vehicle's proportions, as shares of its length, height and width.

    body: stations (x, bottom, top, half width) from the rear to the front. cabin: rear and front x at the belt line,
    rear and front x at the roof; None where the body is the whole vehicle. belt: the belt line's height.
    roof_half_width: of the roof. axles: x of the rear and the front axle. wheel_height: the wheel's diameter.
    """

    body: tuple[tuple[float, float, float, float], ...]
    cabin: tuple[float, float, float, float] | None
    belt: float
    roof_half_width: float
    axles: tuple[float, float]
    wheel_height: float
    wheel_length: float


# fmt: off
SHAPES = {
    "sedan": VehicleShape(
        body=(
            (-0.5, 0.32, 0.58, 0.40), (-0.485, 0.24, 0.645, 0.455), (-0.42, 0.19, 0.675, 0.49), (-0.2, 0.16, 0.65, 0.5),
            (0.0, 0.15, 0.63, 0.5), (0.2, 0.15, 0.625, 0.5), (0.36, 0.16, 0.58, 0.49), (0.45, 0.18, 0.53, 0.465),
            (0.487, 0.22, 0.47, 0.43), (0.5, 0.30, 0.40, 0.38),
        ),
        cabin=(-0.41, 0.235, -0.25, 0.06), belt=0.62, roof_half_width=0.36,
        axles=(-0.30, 0.315), wheel_height=0.44, wheel_length=0.145,
    ),
    "hatchback": VehicleShape(
        body=(
            (-0.5, 0.30, 0.58, 0.42), (-0.488, 0.22, 0.62, 0.465), (-0.42, 0.18, 0.65, 0.49), (-0.2, 0.16, 0.64, 0.5),
            (0.05, 0.15, 0.62, 0.5), (0.25, 0.15, 0.60, 0.5), (0.37, 0.16, 0.57, 0.49), (0.455, 0.18, 0.52, 0.46),
            (0.49, 0.22, 0.46, 0.42), (0.5, 0.30, 0.40, 0.38),
        ),
        cabin=(-0.488, 0.275, -0.40, 0.09), belt=0.61, roof_half_width=0.37,
        axles=(-0.315, 0.315), wheel_height=0.41, wheel_length=0.16,
    ),
    "estate": VehicleShape(
        body=(
            (-0.5, 0.30, 0.58, 0.42), (-0.49, 0.22, 0.63, 0.465), (-0.42, 0.18, 0.65, 0.49), (-0.2, 0.16, 0.64, 0.5),
            (0.0, 0.15, 0.62, 0.5), (0.2, 0.15, 0.61, 0.5), (0.36, 0.16, 0.575, 0.49), (0.45, 0.18, 0.53, 0.465),
            (0.487, 0.22, 0.47, 0.43), (0.5, 0.30, 0.40, 0.38),
        ),
        cabin=(-0.488, 0.235, -0.42, 0.06), belt=0.61, roof_half_width=0.365,
        axles=(-0.30, 0.315), wheel_height=0.43, wheel_length=0.142,
    ),
    "suv": VehicleShape(
        body=(
            (-0.5, 0.33, 0.58, 0.44), (-0.488, 0.25, 0.62, 0.475), (-0.42, 0.21, 0.645, 0.495), (-0.2, 0.19, 0.64, 0.5),
            (0.05, 0.18, 0.62, 0.5), (0.25, 0.18, 0.61, 0.5), (0.38, 0.19, 0.595, 0.495), (0.46, 0.21, 0.56, 0.475),
            (0.49, 0.25, 0.50, 0.45), (0.5, 0.34, 0.43, 0.42),
        ),
        cabin=(-0.485, 0.25, -0.43, 0.11), belt=0.61, roof_half_width=0.40,
        axles=(-0.31, 0.32), wheel_height=0.43, wheel_length=0.165,
    ),
    "pickup": VehicleShape(
        body=(
            (-0.5, 0.33, 0.56, 0.45), (-0.49, 0.27, 0.60, 0.48), (-0.42, 0.23, 0.61, 0.495), (-0.2, 0.20, 0.61, 0.5),
            (0.05, 0.19, 0.61, 0.5), (0.25, 0.19, 0.61, 0.5), (0.38, 0.20, 0.60, 0.495), (0.46, 0.22, 0.57, 0.475),
            (0.49, 0.26, 0.51, 0.45), (0.5, 0.34, 0.44, 0.42),
        ),
        cabin=(-0.14, 0.25, -0.10, 0.13), belt=0.60, roof_half_width=0.40,
        axles=(-0.30, 0.32), wheel_height=0.42, wheel_length=0.15,
    ),
    "van": VehicleShape(
        body=(
            (-0.5, 0.16, 0.97, 0.46), (-0.49, 0.13, 0.99, 0.49), (-0.3, 0.11, 1.0, 0.5), (0.0, 0.10, 1.0, 0.5),
            (0.18, 0.10, 0.99, 0.5), (0.25, 0.10, 0.95, 0.5), (0.34, 0.10, 0.72, 0.495), (0.38, 0.11, 0.58, 0.49),
            (0.46, 0.13, 0.51, 0.47), (0.49, 0.16, 0.46, 0.45), (0.5, 0.22, 0.38, 0.42),
        ),
        cabin=None, belt=0.55, roof_half_width=0.45,
        axles=(-0.29, 0.33), wheel_height=0.30, wheel_length=0.13,
    ),
    "camper": VehicleShape(
        body=(
            (-0.5, 0.17, 0.93, 0.44), (-0.485, 0.13, 0.97, 0.48), (-0.3, 0.11, 1.0, 0.5), (0.0, 0.10, 1.0, 0.5),
            (0.25, 0.10, 0.99, 0.5), (0.32, 0.10, 0.95, 0.5), (0.42, 0.11, 0.63, 0.49), (0.47, 0.13, 0.54, 0.47),
            (0.495, 0.16, 0.46, 0.45), (0.5, 0.22, 0.40, 0.42),
        ),
        cabin=None, belt=0.53, roof_half_width=0.45,
        axles=(-0.29, 0.33), wheel_height=0.31, wheel_length=0.13,
    ),
}
# fmt: on


# How round the ends are, as shares of the length: what the corners lie behind the middle, and what the upper edge
# lies behind the bumper. LiDAR points on the ends of KITTI's cars lie 0.16 m inside the labelled boxes (median).
_ENDS = ((0.030, 0.020), (0.045, 0.035), (0.060, 0.050))
VARIANTS = len(_ENDS)
# How far the middle of the roof lies above its rim, as a share of the height.
_CROWN = 0.045


def _rounded(along: float, across: float, corner: int, power: float) -> NDArray[np.float64]:
    """A closed superellipse ring, (M, 2), with half axes along and across."""
    angle = np.arange(corner) * (2 * np.pi / corner) + np.pi / corner
    cos, sin = np.cos(angle), np.sin(angle)
    unit = np.stack([np.sign(cos) * np.abs(cos) ** power, np.sign(sin) * np.abs(sin) ** power], -1)
    unit /= np.abs(unit).max(0)
    return unit * [along, across]


def _closing(x: float) -> tuple[float, ...]:
    """Sizes of the rings at a station: the ends are closed by smaller ones, so that their middle comes forward."""
    if x <= -0.5:
        return 0.05, 0.6, 1.0
    return (1.0, 0.6, 0.05) if x >= 0.5 else (1.0,)


def _body(shape: VehicleShape, bow: float, rake: float, around: int, slices: int) -> Mesh:
    stations = np.array(shape.body, np.float64)
    ends = np.concatenate([stations[:3, 0], np.linspace(-0.4, 0.42, slices), stations[-3:, 0]])
    at = np.unique(np.concatenate([ends, stations[:, 0]]))
    if slices < 6:
        at = stations[:, 0]
    bottom, top, half = (np.interp(at, stations[:, 0], stations[:, k]) for k in (1, 2, 3))
    rings = []
    for x, low, high, width in zip(at, bottom, top, half, strict=True):
        ring = _rounded(width, (high - low) / 2, around, 0.42)
        for size in _closing(x):
            across, lift = size * ring[:, 0], (low + high) / 2 + size * ring[:, 1]
            # Sides lean in below the sill and, a little, towards the belt line.
            lean = 1 - 0.06 * np.clip((lift - 0.35) / 0.65, 0, 1) - 0.10 * np.clip((0.30 - lift) / 0.2, 0, 1)
            across = across * lean
            back = bow * (2 * across) ** 2 + rake * np.clip((lift - 0.34) / 0.22, 0, 1)
            at_end = np.clip((abs(x) - 0.3) / 0.2, 0, 1)
            rings.append(np.stack([x - np.sign(x) * at_end * back, across, lift], -1))
    return loft(np.stack(rings), materials.CAR_BODY)


def _cabin(
    shape: VehicleShape, cabin: tuple[float, float, float, float], rake: float, around: int, levels: int
) -> Mesh:
    rear_belt, front_belt, rear_roof, front_roof = cabin
    rear_belt, rear_roof = max(rear_belt, rake - 0.49), max(rear_roof, rake - 0.47)
    rings = []
    for share in np.concatenate([np.linspace(0, 0.86, levels), [0.95, 1.0]]):
        rear = rear_belt + (rear_roof - rear_belt) * share**1.15
        front = front_belt + (front_roof - front_belt) * share**1.15
        half = 0.468 + (shape.roof_half_width - 0.468) * share**1.3
        if share > 0.9:  # the roof's rounded rim
            shrink = 0.012 if share < 0.99 else 0.05
            rear, front, half = rear + shrink, front - shrink, half - shrink
        ring = _rounded((front - rear) / 2, half, around, 0.42)
        height = shape.belt - 0.02 + (1.02 - shape.belt) * share
        rings.append(np.stack([(front + rear) / 2 + ring[:, 0], ring[:, 1], np.full(around, height)], -1))
    middle = rings[-1].mean(0)
    rings.append(middle + 0.45 * (rings[-1] - middle) + [0.0, 0.0, _CROWN])
    return loft(np.stack(rings), materials.CAR_CABIN)


def _wheels(axles: Sequence[float], height: float, length: float, around: int) -> list[Mesh]:
    """Wheels on both sides of each axle, the right one first."""
    meshes = []
    angle = np.arange(around) * (2 * np.pi / around)
    for x in axles:
        for side in (-1.0, 1.0):
            rings = []
            for depth, rim in ((0.38, 1.0), (0.485, 1.0), (0.492, 0.93)):
                across, lift = np.full(around, side * depth), height / 2 * (1 + rim * np.sin(angle))
                rings.append(np.stack([x + rim * length / 2 * np.cos(angle), across, lift], -1))
            stack = np.stack(rings)
            meshes.append(loft(stack[:, ::-1] if side > 0 else stack, materials.WHEEL))
    return meshes


@cache
def vehicle(name: str, variant: int, detailed: bool) -> Mesh:
    """The mesh of a shape by its name, in the unit box; one of `VARIANTS`; `detailed` for those that are near."""
    shape, (bow, rake) = SHAPES[name], _ENDS[variant]
    around = 20 if detailed else 12
    wheels = _wheels(shape.axles, shape.wheel_height, shape.wheel_length, 16 if detailed else 8)
    parts = [_body(shape, bow, rake, around, 14 if detailed else 4), *wheels]
    if shape.cabin is not None:
        parts.append(_cabin(shape, shape.cabin, rake, 28 if detailed else 16, 5 if detailed else 2))
    return join(parts).fitted()


@cache
def truck() -> Mesh:
    """A lorry: a cab, a cargo box and six wheels, in the unit box."""
    cargo = box((0.72, 1.0, 0.70), materials.TRUCK_BOX, (-0.14, 0, 0.30))
    cab = box((0.22, 0.96, 0.62), materials.TRUCK_CAB, (0.385, 0, 0.14))
    chassis = box((0.9, 0.5, 0.14), materials.DARK, (-0.03, 0, 0.14))
    outer, middle = _wheels((-0.33, 0.36), 0.28, 0.095, 14), _wheels((-0.22,), 0.28, 0.095, 14)
    return join([cargo, cab, chassis, *outer, *middle]).fitted()
