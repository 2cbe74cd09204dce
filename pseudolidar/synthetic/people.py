"""Meshes of people: walkers and standers in several poses, cyclists on their bicycles, persons who sit."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from pseudolidar.synthetic import materials
from pseudolidar.synthetic.meshes import Mesh, box, ellipsoid, join, torus, tube

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Pose:
    """Joint angles (rad), forward swing positive: hips, knees, shoulders, elbows (left, right); the trunk's lean."""

    hips: tuple[float, float]
    knees: tuple[float, float]
    shoulders: tuple[float, float]
    elbows: tuple[float, float]
    lean: float = 0.0
    spread: float = 0.12
    bag: str = ""


def _walking(phase: float, stride: float, bag: str = "") -> Pose:
    swing = stride * np.sin(phase)
    lift = [max(0.0, np.cos(phase + shift)) for shift in (0.0, np.pi)]
    knees = (0.15 + 0.8 * stride * lift[0], 0.15 + 0.8 * stride * lift[1])
    return Pose((swing, -swing), knees, (-0.85 * swing, 0.85 * swing), (0.45, 0.45), lean=0.06, spread=0.14, bag=bag)


_BAGS = ("", "", "pack", "", "hand", "", "pack", "")
WALKERS: tuple[Pose, ...] = (
    *(_walking(step * np.pi / 4, 0.52, bag) for step, bag in enumerate(_BAGS)),
    *(_walking(phase, 0.68) for phase in (1.2, 1.9, 4.3, 5.0)),
)
STANDERS: tuple[Pose, ...] = (
    Pose((0.05, -0.05), (0.05, 0.05), (0.1, -0.05), (0.2, 0.15)),
    Pose((0.0, 0.1), (0.05, 0.2), (0.35, 0.1), (1.7, 0.3)),  # on the telephone
    Pose((0.05, 0.0), (0.05, 0.05), (0.5, 0.5), (1.3, 1.3), spread=0.2),  # hands in front
    Pose((0.1, -0.1), (0.1, 0.05), (1.2, 0.0), (0.2, 0.2), spread=0.16, bag="hand"),  # pointing
    Pose((0.0, 0.0), (0.05, 0.05), (0.15, 0.15), (0.5, 0.5), spread=0.42, bag="pack"),  # arms akimbo
)
SITTING: tuple[Pose, ...] = (
    Pose((1.45, 1.40), (1.45, 1.30), (0.5, 0.4), (0.8, 0.9), lean=-0.08),
    Pose((1.5, 1.5), (1.2, 1.5), (0.7, 0.7), (1.1, 1.1), lean=0.2),
    Pose((1.45, 1.55), (1.5, 0.9), (0.2, 0.6), (0.4, 1.2), lean=-0.15),
)
_RIDING = (
    Pose((1.25, 0.60), (1.45, 0.75), (1.15, 1.15), (0.25, 0.25), lean=0.42),
    Pose((0.60, 1.25), (0.75, 1.45), (1.15, 1.15), (0.25, 0.25), lean=0.50),
    Pose((0.95, 0.95), (1.25, 1.05), (1.00, 1.00), (0.35, 0.35), lean=0.28, bag="pack"),
)


def _along(start: Point, angle: float, length: float, out: float = 0.0) -> Point:
    """The end of a limb that hangs down from start, swung forward by angle and to the left by out."""
    return (
        start[0] + length * np.sin(angle) * np.cos(out),
        start[1] + length * np.sin(out),
        start[2] - length * np.cos(angle) * np.cos(out),
    )


def person(pose: Pose, detailed: bool) -> Mesh:
    """A person of about 1.75 m in a pose, hips at a height of 0.92 m; forward, left, up about the hips' foot."""
    around, limb, joint = (10, 8, 7) if detailed else (6, 5, 4)
    stacks = 7 if detailed else 4
    hip_height, lean = 0.92, pose.lean
    neck = (0.54 * np.sin(lean), 0.0, hip_height + 0.54 * np.cos(lean))
    chest = (0.34 * np.sin(lean), 0.0, hip_height + 0.34 * np.cos(lean))
    head = (neck[0] + 0.15 * np.sin(lean) + 0.02, 0.0, neck[2] + 0.18)
    waist, shoulders = (chest[0] * 0.45, 0, hip_height + 0.17), (neck[0] - 0.005, 0, neck[2] - 0.05)
    parts = [
        ellipsoid((0.0, 0.0, hip_height + 0.02), (0.125, 0.175, 0.15), materials.TROUSERS, around, stacks - 2),
        ellipsoid(waist, (0.12, 0.165, 0.2), materials.TOP, around, stacks - 2),
        ellipsoid(chest, (0.13, 0.205, 0.23), materials.TOP, around, stacks - 1),
        ellipsoid(shoulders, (0.085, 0.19, 0.075), materials.TOP, around, stacks - 2),
        tube(neck, head, 0.055, materials.SKIN, joint),
        ellipsoid(head, (0.098, 0.08, 0.122), materials.SKIN, around, stacks),
        ellipsoid((head[0] - 0.02, 0, head[2] + 0.03), (0.097, 0.087, 0.112), materials.HAIR, around, stacks),
    ]
    for side, hip, knee in zip((1.0, -1.0), pose.hips, pose.knees, strict=True):
        top = (0.0, side * 0.095, hip_height)
        middle = _along(top, hip, 0.44)
        ankle = _along(middle, hip - knee, 0.42)
        parts.append(tube(top, middle, (0.088, 0.062), materials.TROUSERS, limb))
        parts.append(ellipsoid(middle, (0.064, 0.062, 0.064), materials.TROUSERS, joint, 3))
        parts.append(tube(middle, ankle, (0.061, 0.045), materials.TROUSERS, limb))
        foot = box((0.26, 0.095, 0.085), materials.SHOES, (0.065, 0.0, -0.075)).leaning(-(hip - knee) * 0.75)
        parts.append(foot.moved(ankle))
    for side, shoulder, elbow in zip((1.0, -1.0), pose.shoulders, pose.elbows, strict=True):
        top = (neck[0] - 0.01, side * 0.205, neck[2] - 0.055)
        middle = _along(top, shoulder, 0.29, side * pose.spread)
        wrist = _along(middle, shoulder + elbow, 0.25, side * pose.spread * 0.3)
        parts.append(ellipsoid(top, (0.060, 0.055, 0.062), materials.TOP, joint, 3))
        parts.append(tube(top, middle, (0.058, 0.047), materials.TOP, limb))
        parts.append(tube(middle, wrist, (0.046, 0.036), materials.TOP, limb))
        parts.append(ellipsoid(_along(wrist, shoulder + elbow, 0.06), (0.045, 0.035, 0.055), materials.SKIN, joint, 3))
        if pose.bag == "hand" and side > 0:
            parts.append(box((0.30, 0.11, 0.30), materials.BAG, (wrist[0], wrist[1] + 0.03, wrist[2] - 0.42)))
    if pose.bag == "pack":
        pack = box((0.17, 0.30, 0.42), materials.BAG, (-0.19, 0, -0.24)).leaning(lean)
        parts.append(pack.moved(chest))
    return join(parts)


@cache
def walker(number: int, detailed: bool) -> Mesh:
    """A walking or a standing pedestrian at natural size, standing on the ground."""
    return person((WALKERS + STANDERS)[number], detailed).settled()


@cache
def sitter(number: int, detailed: bool) -> Mesh:
    """A sitting person at natural size; its box stands on the ground."""
    return person(SITTING[number], detailed).settled()


@cache
def cyclist(number: int, detailed: bool) -> Mesh:
    """A rider on a bicycle, in the unit box."""
    wheel = 0.34
    rear, front, crank = (-0.52, 0.0, wheel), (0.53, 0.0, wheel), (-0.08, 0.0, 0.29)
    seat, head = (-0.22, 0.0, 0.88), (0.36, 0.0, 0.85)
    frame = materials.BICYCLE
    parts = [torus(axle, wheel - 0.02, 0.022, materials.DARK, 20 if detailed else 10) for axle in (rear, front)]
    parts += [tube(axle, (axle[0], 0.0, axle[2] + 0.01), 0.05, frame, 6) for axle in (rear, front)]
    for axle in (rear, front):  # spokes, as thin rods
        for angle in np.arange(4) * np.pi / 4:
            reach = np.array([np.cos(angle), 0, np.sin(angle)], np.float64) * (wheel - 0.03)
            parts.append(tube(tuple(axle - reach), tuple(axle + reach), 0.006, frame, 3))
    pairs = [(rear, crank), (crank, seat), (rear, (-0.2, 0, 0.8)), (crank, head), ((-0.2, 0, 0.8), head), (head, front)]
    parts += [tube(start, end, 0.022, frame, 5) for start, end in pairs]
    parts.append(tube((0.36, 0, 0.84), (0.33, 0, 1.02), 0.016, frame, 5))
    parts.append(tube((0.33, -0.28, 1.02), (0.33, 0.28, 1.02), 0.016, materials.DARK, 5))
    parts.append(box((0.26, 0.15, 0.06), materials.DARK, (-0.24, 0, 0.90)))
    rider = person(_RIDING[number], detailed).moved((-0.22, 0.0, 0.06))
    return join([*parts, rider]).fitted()
