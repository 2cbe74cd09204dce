"""Downstream models that are optimal for the 0-1 loss on a known distribution, found exactly."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from shapely import MultiPoint
from shapely.ops import nearest_points

_SAME_DIRECTION = 1e-9
_SMALLEST_MARGIN = 1e-4


def best_function(outputs: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The predictions of the best function of outputs (N, K): the commoner class among equal outputs, in ties positive.

    Of x itself this is w*, the Bayes-optimal model; of v's output it is w†∘v.
    """
    _, group = np.unique(outputs, axis=0, return_inverse=True)
    votes = np.bincount(group.reshape(-1), weights=np.where(positive, 1.0, -1.0))
    return np.asarray(votes[group.reshape(-1)] >= 0)


def best_boolean_function(bits: NDArray[np.bool_], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The predictions of the best of the 2^(2^K) functions of K bits (N, K), by trying them all."""
    rows = table_rows(bits)
    answers = [np.array(table)[rows] for table in product([False, True], repeat=1 << bits.shape[1])]
    return min(answers, key=lambda answer: int((answer != positive).sum()))


def table_rows(bits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The index (N,) of each row of K bits (N, K) in a table of 2^K."""
    return np.asarray(bits @ (1 << np.arange(bits.shape[1])), np.int64)


@dataclass(frozen=True)
class HalfPlane:
    """Points p with normal . p > offset are called positive; the normal has unit length."""

    normal: tuple[float, float]
    offset: float

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each of points (N, 2) is called positive."""
        return np.asarray(points @ np.array(self.normal) > self.offset)


def best_half_plane(points: NDArray[np.float64], positive: NDArray[np.bool_]) -> HalfPlane:
    """The linear classifier of points (N, 2) with the fewest errors, and among equal cuts the middle of the gap.

    Any line can be moved until it touches a point and turned about it until it nearly touches a second, without any
    other point changing sides. So it is enough to try the lines through each point, at an angle between each two
    neighbouring directions to other points, with the point itself on either side.
    """
    # Points of one place stand on the same side of any line.
    places, group = np.unique(points, axis=0, return_inverse=True)
    # How many more errors there are when a place is called positive.
    cost = np.bincount(group.reshape(-1), weights=np.where(positive, -1.0, 1.0))
    least, best = np.inf, np.zeros(len(places), bool)
    for pivot, place in enumerate(places):
        others = places - place
        angles = np.sort(np.arctan2(others[:, 1], others[:, 0])[np.arange(len(places)) != pivot] % np.pi)
        following = np.append(angles[1:], angles[:1] + np.pi)
        # Between points in line with the pivot there is no angle but for rounding.
        between = ((angles + following) / 2)[following - angles > _SAME_DIRECTION] if len(angles) else np.zeros(1)
        sides = np.stack([-np.sin(between), np.cos(between)], axis=1) @ others.T > 0
        sides[:, pivot] = False
        costs = sides @ cost
        for turned, own in product([False, True], [False, True]):
            # The classifier that calls the other side positive has what is left of the cost.
            values = cost.sum() - costs if turned else costs
            values = values + (cost[pivot] if own else 0.0) - (cost[pivot] if turned else 0.0)
            lowest = int(values.argmin())
            if values[lowest] < least:
                least, best = values[lowest], sides[lowest] != turned
                best[pivot] = own
    return _middle_of_gap(places, best)


def best_partner(points: NDArray[np.float64], said: NDArray[np.bool_], positive: NDArray[np.bool_]) -> HalfPlane:
    """The linear classifier of points (N, 2) with whose answers, and another's, the best function of both errs least.

    `said` (N,) are the other's. Where that says one thing, the function may follow the line, the reverse of it, or give
    one answer whatever the line says; the same where it says the other. The reverse of all is the same line, so that
    four problems are left, each that of `best_half_plane` on points that the line has to part.
    """
    found: list[tuple[int, int, HalfPlane]] = []
    for parted, turned in ((np.ones_like(said), False), (np.ones_like(said), True), (said, False), (~said, False)):
        if parted.any():
            line = best_half_plane(points[parted], (positive ^ (said & turned))[parted])
            answers = np.stack([said, line.contains(points)], axis=1).astype(np.float64)
            found.append((int((best_function(answers, positive) != positive).sum()), len(found), line))
    return min(found)[2]


def _middle_of_gap(places: NDArray[np.float64], inside: NDArray[np.bool_]) -> HalfPlane:
    """The half-plane that holds the points inside, its boundary as far as possible from the nearest on either side."""
    if inside.all() or not inside.any():
        beyond = np.abs(places[:, 0]).max() + 1.0
        return HalfPlane((1.0, 0.0), float(-beyond if inside.all() else beyond))
    hulls = (MultiPoint(places[side]).convex_hull for side in (~inside, inside))
    ends = np.array([[end.x, end.y] for end in nearest_points(*hulls)])
    normal = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    return HalfPlane((float(normal[0]), float(normal[1])), float(normal @ ends.mean(axis=0)))


def polynomial_features(points: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """(N, 2) -> (N, F): the products of powers of p and q up to the degree; for 2, six: 1, p, q, p^2, pq, q^2."""
    p, q = points[:, 0], points[:, 1]
    return np.stack([p**i * q ** (both - i) for both in range(degree + 1) for i in range(both, -1, -1)], axis=1)


def best_polynomial(points: NDArray[np.float64], positive: NDArray[np.bool_], degree: int) -> NDArray[np.float64]:
    """The polynomial classifier of points (N, 2) with the fewest errors, and for the same errors the simplest.

    (F,) coefficients of `polynomial_features`, positive values for the positive class; points are of about unit scale.

    A mixed-integer programme finds the fewest examples to give up, coefficients being within [-1, 1] and the others
    having class * value >= 1e-4. A linear programme then finds the smallest sum of absolute coefficients (without the
    constant) that gives the others class * value >= 1.
    """
    signed = np.where(positive, 1.0, -1.0)[:, None] * polynomial_features(points, degree)
    count, size = signed.shape
    # No value within the coefficients' bounds is lower: an example that is given up bounds nothing.
    lowest = np.diag(np.abs(signed).sum(axis=1) + _SMALLEST_MARGIN)
    fewest = milp(
        np.concatenate([np.zeros(size), np.ones(count)]),
        integrality=np.concatenate([np.zeros(size), np.ones(count)]),
        bounds=Bounds(np.concatenate([-np.ones(size), np.zeros(count)]), np.ones(size + count)),
        constraints=LinearConstraint(np.concatenate([signed, lowest], axis=1), _SMALLEST_MARGIN, np.inf),
    )
    kept = signed[np.asarray(fewest.x)[size:] < 0.5]
    # Coefficients as differences of two numbers that are not negative.
    price = np.tile(np.append(0.0, np.ones(size - 1)), 2)
    simplest = linprog(price, A_ub=np.concatenate([-kept, kept], axis=1), b_ub=-np.ones(len(kept)))
    return np.asarray(simplest.x)[:size] - np.asarray(simplest.x)[size:]
