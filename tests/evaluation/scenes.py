"""Small scenes for the tests: objects written down in a line, and random ones."""

import numpy as np

from pseudolidar.kitti import Objects

BOX = (100.0, 100.0, 150.0, 150.0)
AWAY = (500.0, 100.0, 550.0, 150.0)


def objects(*rows: tuple, scored: bool = False) -> Objects:
    """Rows: class, truncation, occlusion, alpha, (l, t, r, b), (x, y, z, h, w, l, ry)[, score]."""
    if not rows:
        return Objects.empty(scored)
    columns = list(zip(*rows, strict=True))
    return Objects(
        np.array(columns[0]),
        np.array(columns[1], dtype=float),
        np.array(columns[2]),
        np.array(columns[3], dtype=float),
        np.array(columns[4], dtype=float),
        np.array(columns[5], dtype=float),
        np.array(columns[6], dtype=float) if scored else None,
    )


def label(
    name: str = "Car",
    box2d: tuple[float, ...] = BOX,
    x: float = 0.0,
    z: float = 10.0,
    truncation: float = 0.0,
    occlusion: int = 0,
    alpha: float = 0.0,
) -> tuple:
    return (name, truncation, occlusion, alpha, box2d, (x, 1.5, z, 1.5, 1.6, 3.9, 0.0))


def detection(
    name: str = "Car",
    box2d: tuple[float, ...] = BOX,
    x: float = 0.0,
    z: float = 10.0,
    alpha: float = 0.0,
    score: float = 1.0,
) -> tuple:
    return (name, -1.0, -1, alpha, box2d, (x, 1.5, z, 1.5, 1.6, 3.9, 0.0), score)


def random_frame(rng: np.random.Generator) -> tuple[Objects, Objects]:
    """Labels and detections of a crowded frame: neighbours, DontCare, small, hidden, near misses, equal scores."""
    names = ["Car", "Van", "Pedestrian", "Person_sitting", "Cyclist", "Truck", "DontCare"]
    truth: list[tuple] = []
    found: list[tuple] = []
    for _ in range(rng.integers(0, 9)):
        name = str(rng.choice(names))
        left, top = rng.uniform(0, 120), rng.uniform(0, 60)
        box2d = np.array([left, top, left + rng.uniform(20, 90), top + rng.uniform(15, 90)])
        place = np.array([rng.uniform(-4, 4), 1.6, rng.uniform(4, 12)])
        size = np.array([1.6, 1.5, 2.5]) * rng.uniform(0.8, 1.2, 3)
        ry, alpha = rng.uniform(-3, 3, 2)
        if name == "DontCare":
            truth.append((name, -1, -1, -10, box2d, (-1000, -1000, -1000, -1, -1, -1, -10)))
        else:
            truth.append((name, rng.uniform(0, 0.6), rng.integers(0, 4), alpha, box2d, (*place, *size, ry)))
        for _ in range(rng.integers(0, 4)):
            near2d = box2d + rng.normal(0, 3, 4)
            near = (*(place + rng.normal(0, 0.15, 3)), *(size * rng.uniform(0.9, 1.1, 3)), ry + rng.normal(0, 0.1))
            guess = name if rng.uniform() < 0.8 and name in names[::2] else str(rng.choice(["Car", "Pedestrian"]))
            score = np.round(rng.uniform(0, 1), 1)
            found.append((guess, -1, -1, alpha + rng.normal(0, 0.3), near2d, near, score))
    return objects(*truth), objects(*found, scored=True)
