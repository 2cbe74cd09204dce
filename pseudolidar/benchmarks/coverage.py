"""How often 95 % intervals contain a difference of average precisions that is known, by simulation."""

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation import Evaluation, StackedObjects, ap_intervals, compare, evaluate
from pseudolidar.evaluation.stacked import starts_of
from pseudolidar.kitti import Objects, track
from pseudolidar.viewing import Row, Table, print_tables

_KEY = ("Car", "bbox", "all", "AP40")
_BOX_PX = 50.0


def main(trials: int = 1000, frames: int = 300, replicates: int = 1000, population: int = 200_000) -> None:
    """Print the coverage.

    Args:
        trials: data sets, each with its own intervals.
        frames: in each.
        replicates: of each bootstrap.
        population: frames from which the true values are taken.
    """
    print_tables([coverage_table(trials, frames, replicates, population, seed=0)])


def coverage_table(trials: int, frames: int, replicates: int, population: int, seed: int) -> Table:
    """Share of the trials in which the intervals of a, of b and of their difference contain the true values."""
    random = np.random.default_rng(seed)
    whole_a, whole_b = simulated_pair(random, population)
    truth = np.array([whole_a.ap(*_KEY), whole_b.ap(*_KEY), whole_b.ap(*_KEY) - whole_a.ap(*_KEY)])
    contained, below, width = np.zeros(3), np.zeros(3), np.zeros(3)
    for _ in track(range(trials), "trials"):
        a, b = simulated_pair(random, frames)
        alone = [ap_intervals(one, random, replicates)[_KEY] for one in (a, b)]
        intervals = [*alone, compare(a, b, random, replicates).differences[_KEY]]
        low, high = np.array([(interval.low, interval.high) for interval in intervals]).T
        contained += (low <= truth) & (truth <= high)
        below += high < truth
        width += high - low
    rows = [
        Row(
            (name, float(truth[i]), *(100 * float(x[i]) / trials for x in (contained, below)), float(width[i]) / trials)
        )
        for i, name in enumerate(("a", "b", "b - a"))
    ]
    noise = 100 * np.sqrt(0.05 * 0.95 / trials)
    return Table(
        f"Coverage of 95 % intervals: {trials} trials of {frames} frames, {replicates} replicates",
        (("AP40 of", "true value", "contain it, %", "lie below it, %", "mean width"),),
        tuple(rows),
        (f"with {trials} trials, exact coverage shows as 95 % give or take {2 * noise:.1f} %",),
    )


def simulated_pair(random: np.random.Generator, frames: int) -> tuple[Evaluation, Evaluation]:
    """Two detectors on the same frames, of which b is the better.

    A frame holds 0 to 6 cars and is hard or easy for both detectors; so is each car. What a detector finds, it finds
    exactly; its score says how easy that was, with noise of its own. It makes false detections, in hard frames more.
    """
    cars = starts_of(random.integers(0, 7, frames))
    frame_of = np.repeat(np.arange(frames), np.diff(cars))
    place = np.arange(cars[-1]) - cars[frame_of]
    easy_frame = random.normal(0.0, 0.7, frames)
    easy = easy_frame[frame_of] + random.normal(0.0, 1.0, cars[-1])
    labels = _stacked(frame_of, place, None, frames)
    evaluations = []
    for skill, false_rate in ((0.6, 0.9), (0.9, 0.75)):
        felt = easy + skill + random.normal(0.0, 0.7, len(easy))
        is_found = felt > 0.0
        false = random.poisson(false_rate * np.exp(-0.4 * easy_frame))
        false_frame = np.repeat(np.arange(frames), false)
        frame = np.concatenate([frame_of[is_found], false_frame])
        at = np.concatenate([place[is_found], 10 + np.arange(len(false_frame)) - starts_of(false)[false_frame]])
        score = np.concatenate([felt[is_found], random.normal(0.5, 0.6, len(false_frame))])
        order = np.argsort(frame, kind="stable")
        results = _stacked(frame[order], at[order], score[order], frames)
        evaluations.append(evaluate(labels, results, classes=("Car",), difficulties=("all",)))
    return evaluations[0], evaluations[1]


def _stacked(
    frame: NDArray[np.int64], place: NDArray[np.int64], score: NDArray[np.float64] | None, frames: int
) -> StackedObjects:
    """Cars side by side at numbered places in the image, each as far from the next as it is wide."""
    count = len(frame)
    left = 2.0 * _BOX_PX * place
    top = np.zeros(count)
    box2d = np.stack([left, top, left + _BOX_PX, top + _BOX_PX], axis=1)
    box3d = np.tile([-1000.0, -1000.0, -1000.0, -1.0, -1.0, -1.0, -10.0], (count, 1))
    objects = Objects(
        np.full(count, "Car"), np.zeros(count), np.zeros(count, np.int64), np.full(count, -10.0), box2d, box3d, score
    )
    return StackedObjects(objects, starts_of(np.bincount(frame, minlength=frames)), np.arange(count))
