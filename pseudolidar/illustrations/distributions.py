"""Known distributions: uniform over a few hundred examples, so that every expectation is a finite sum."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import replacing

_FILE = "examples.npz"
_COUNT = 420


@dataclass(frozen=True, eq=False)
class Examples:
    """A distribution: N examples of equal probability, with inputs x (N, 2).

    `positive` (N,) is the class that the downstream model predicts. `target` (N, 2) is the point that an upstream
    regression predicts; (N, 0) where upstream models predict the class.
    """

    x: NDArray[np.float64]
    positive: NDArray[np.bool_]
    target: NDArray[np.float64]

    @classmethod
    def read(cls, folder: Path) -> "Examples":
        """Read the examples from a folder of `WriteExamples`."""
        with np.load(folder / _FILE) as stored:
            return cls(stored["x"], stored["positive"], stored["target"])

    def names(self) -> tuple[str, ...]:
        """The examples' names as test items."""
        return tuple(f"{number:04d}" for number in range(len(self.x)))


@dataclass(frozen=True, eq=False)
class WriteExamples:
    """The stage that writes a distribution for the systems that are trained and tested on it."""

    examples: Examples
    version: ClassVar[int] = 1

    def settings(self) -> Mapping[str, Any]:
        """A digest of the examples' arrays."""
        digest = hashlib.sha256()
        for values in (self.examples.x, self.examples.positive, self.examples.target):
            digest.update(str(values.shape).encode() + values.tobytes())
        return {"examples": digest.hexdigest()}

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        """Write the examples to an .npz file in `folder`."""
        with replacing(folder / _FILE) as temporary, temporary.open("wb") as file:
            np.savez(file, x=self.examples.x, positive=self.examples.positive, target=self.examples.target)


def crescents() -> Examples:
    """Figure 2: two bands, one above the other (positive above); their targets are bent into nested crescents."""
    x = 2 * _spread(760) - 1
    x = x[(np.abs(x[:, 1]) > 0.05) & (np.abs(x[:, 1]) < 0.35)]
    bend = 0.5 * np.cos(np.pi * x[:, 0])
    return Examples(x, x[:, 1] > 0, np.stack([x[:, 0], x[:, 1] + bend], axis=1))


def disc_in_arc() -> Examples:
    """Figure 3: x is radius and angle (rad); as targets in the plane, an arc of negatives goes around the positives."""
    counts, x = (8, 12), []
    for count, middle, width, end in zip(counts, (0.45, 1.05), (0.1, 0.15), (2.6, 2.1), strict=True):
        # The golden angle keeps neighbours at unequal distances.
        radius = middle + width * np.cos(2.4 * np.arange(count))
        x.append(np.stack([radius, np.linspace(-end, end, count)], axis=1))
    radius, angle = np.concatenate(x).T
    target = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Examples(np.concatenate(x), np.repeat([True, False], counts), target)


def corner() -> Examples:
    """Figure 4a: positive where both coordinates are, with more of the negatives below than on the left."""
    x = np.array([-0.4, -0.9]) + 1.4 * _spread(_COUNT)
    return Examples(x, np.logical_and.reduce(x > 0, axis=1), np.empty((len(x), 0)))


def wedge() -> Examples:
    """Figure 4b: positive between two lines that diverge upwards."""
    x = 2 * _spread(_COUNT) - 1
    between = np.logical_and.reduce([x @ np.array(normal) > offset for normal, offset in WEDGE_LINES])
    return Examples(x, between, np.empty((len(x), 0)))


WEDGE_LINES = (((1.0, 0.35), -0.45), ((-1.0, 0.35), -0.15))
"""The two lines of `wedge`, left and right: normal n towards the positive side, and offset d; n . x > d is positive."""


CAP = 0.5
"""Distance of the lines that cut off the caps of `caps` from the middle of its disc, whose radius is 1."""


def caps() -> Examples:
    """Three models: positive where exactly one of three lines, 120 degrees apart, cuts off a cap of a disc."""
    x = 2 * _spread(_COUNT) - 1
    x = x[np.hypot(x[:, 0], x[:, 1]) < 1][: _COUNT // 3]
    x = np.concatenate(
        [x @ np.array(turned((1.0, 0.0), third) + turned((0.0, 1.0), third)).reshape(2, 2) for third in range(3)]
    )
    cut = [x @ np.array(turned((0.0, 1.0), third)) > CAP for third in range(3)]
    return Examples(x, np.sum(cut, axis=0) == 1, np.empty((len(x), 0)))


def turned(direction: tuple[float, float], thirds: int) -> tuple[float, float]:
    """A direction turned by so many thirds of a circle to the left."""
    cosine, sine = np.cos(2 * np.pi * thirds / 3), np.sin(2 * np.pi * thirds / 3)
    return float(cosine * direction[0] - sine * direction[1]), float(sine * direction[0] + cosine * direction[1])


def mirrored_corner() -> Examples:
    """Fairness: positive where both coordinates are; the second half of the examples is the first one's mirror image.

    The mirror is the diagonal x = y: the first half, x > y, is one group, and the second half is the other.
    """
    x = 2 * _spread(_COUNT) - 1
    right = x[x[:, 0] > x[:, 1]]
    x = np.concatenate([right, right[:, ::-1]])
    return Examples(x, np.logical_and.reduce(x > 0, axis=1), np.empty((len(x), 0)))


def _spread(count: int) -> NDArray[np.float64]:
    """(N, 2) points that fill the unit square evenly without a grid's rows (Roberts' R2 sequence)."""
    # 1/p and 1/p^2 of the plastic number p, the real root of p^3 = p + 1.
    steps = np.array([0.7548776662466927, 0.5698402909980532])
    return np.asarray((0.5 + steps * np.arange(1, count + 1)[:, None]) % 1.0)
