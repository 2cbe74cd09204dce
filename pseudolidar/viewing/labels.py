"""Texts beside boxes, placed so that they don't overlap."""

import numpy as np
from numpy.typing import NDArray

_GAP = 2.0


def place_labels(
    boxes: NDArray[np.float64],
    sizes: NDArray[np.float64],
    bounds: tuple[float, float, float, float],
    taken: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Lower left corners (N, 2), px, of labels above, below or beside their boxes; NaN where there is no room.

    Labels cover as little of other boxes as possible. Greedy: the first label chooses first, so put the most important
    first.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 of what is labelled, px, y upwards.
        sizes: (N, 2) width and height of the labels, px.
        bounds: x0, y0, x1, y1 that no label leaves, px.
        taken: (M, 4) x0, y0, x1, y1 of other texts, px.
    """
    places = np.full((len(boxes), 2), np.nan)
    for i, (width, height) in enumerate(sizes):
        candidates = _candidates(boxes[i], width, height, bounds)
        inside = (candidates[:, :2] >= bounds[:2]).all(axis=1) & (candidates[:, 2:] <= bounds[2:]).all(axis=1)
        free = candidates[inside & (_shared_areas(candidates, taken).sum(axis=1) == 0)]
        if len(free):
            covered = _shared_areas(free, np.delete(boxes, i, axis=0)).sum(axis=1)
            best = free[covered.argmin()]
            places[i] = best[:2]
            taken = np.concatenate([taken, best[None]])
    return places


def _candidates(
    box: NDArray[np.float64], width: float, height: float, bounds: tuple[float, float, float, float]
) -> NDArray[np.float64]:
    """Rectangles (K, 4) for one label, the preferred ones first."""
    # What is left of a box that reaches over the border.
    x0, y0, x1, y1 = np.clip(box, [*bounds[:2]] * 2, [*bounds[2:]] * 2)
    middle_x, middle_y = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2
    above, below, right, left = y1 + _GAP, y0 - _GAP - height, x1 + _GAP, x0 - _GAP - width
    corners = [
        *((middle_x, above), (middle_x, below), (right, middle_y), (left, middle_y)),
        *((x0, above), (x1 - width, above), (x0, below), (x1 - width, below)),
        *((right, above), (left, above), (right, below), (left, below)),
        *((middle_x, above + height), (middle_x, below - height)),
        # A box as large as the picture has room inside alone.
        *((middle_x, y1 - _GAP - height), (middle_x, y0 + _GAP)),
    ]
    lower_left = np.array(corners)
    return np.concatenate([lower_left, lower_left + np.array([width, height])], axis=1)


def _shared_areas(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas (N, M) that rectangles (N, 4) and (M, 4) have in common."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.asarray(np.maximum(high - low, 0.0).prod(axis=2))
