"""Which frames to run again: a budget of frames, those with the most uncertain items first, or at random."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError
from pseudolidar.updates.backfill.candidates import Candidates

Selection = Literal["entropy", "random"]


def frame_count(budget: float, frames: int) -> int:
    """How many frames a budget buys.

    Args:
        budget: up to 1 a share of the frames, rounded up; above 1 a number of them.
        frames: there are.

    Raises:
        InputError: a budget of zero or less, above the number of frames, or a number that is not whole.
    """
    if not 0 < budget <= max(frames, 1) or (budget > 1 and budget != int(budget)):
        raise InputError(f"budget: found {budget:g}, expected a share above 0, up to 1, or 2 to {frames} frames")
    # Without the last digits, or 0.07 of 100 frames were 8.
    return math.ceil(round(budget * frames, 9)) if budget <= 1 else int(budget)


def frames_to_run(
    candidates: Candidates, entropy: NDArray[np.floating], count: int, selection: Selection, seed: int
) -> NDArray[np.int64]:
    """The frames to run a new version on, int64, rising.

    A run of a frame renews the labels of all its items, so a frame is worth the sum of their entropies. Frames without
    candidates are never among them: nothing stored could change.

    Args:
        candidates: N items.
        entropy: (N,) of their posteriors, nats.
        count: the most frames to choose.
        selection: the frames of the largest sums, ties in an order by chance; or all by chance.
        seed: of that order.
    """
    frames = np.random.default_rng(seed).permutation(np.unique(candidates.frame))
    if selection == "entropy":
        worth = np.bincount(candidates.frame, np.asarray(entropy, np.float64), len(candidates.frame_ids))
        # Sums of float32 in other orders: what differs in the last digits alone is a tie.
        frames = frames[np.argsort(-np.round(worth[frames], 5), kind="stable")]
    elif selection != "random":
        raise InputError(f"selection: found {selection!r}, expected entropy or random")
    return np.sort(frames[:count])
