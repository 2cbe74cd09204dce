"""How often 95 % intervals contain a difference of average precisions that is known, by simulation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation import Evaluation, StackedObjects, ap_intervals, compare, evaluate, starts_of
from pseudolidar.files import track
from pseudolidar.kitti import Objects
from pseudolidar.tables import Row, Table, print_tables

_KEY = ("Car", "bbox", "all", "AP40")
_BOX_PX = 50.0


def main(
    pairs: int = 24, trials: int = 40, frames: int = 300, replicates: int = 1000, population: int = 60_000
) -> None:
    """Print how often confidence intervals of average precision contain the true values.

    Args:
        pairs: of detectors, each with true values of its own.
        trials: data sets for each pair, each with its own intervals.
        frames: in each data set.
        replicates: of each bootstrap.
        population: frames from which the true values are taken.
    """
    print_tables([coverage_table(pairs, trials, frames, replicates, population, seed=0)])


def coverage_table(pairs: int, trials: int, frames: int, replicates: int, population: int, seed: int) -> Table:
    """Share of the trials in which the intervals of a, of b and of their difference contain the true values.

    Many pairs, since average precision jumps where the recall that a detector reaches passes a point of the grid: for
    a single pair, coverage depends on how near its true values lie to such a jump.
    """
    random = np.random.default_rng(seed)
    contained, below, width, differences = np.zeros((pairs, 3)), np.zeros(3), np.zeros(3), []
    for pair in track(range(pairs), "pairs of detectors"):
        skill = random.uniform(0.2, 1.4)
        detectors = [Detector(skill + more, random.uniform(0.3, 1.0)) for more in (0.0, random.uniform(0.0, 0.4))]
        whole_a, whole_b = simulated_pair(random, population, detectors)
        truth = np.array([whole_a.ap(*_KEY), whole_b.ap(*_KEY), whole_b.ap(*_KEY) - whole_a.ap(*_KEY)])
        differences.append(truth[2])
        for _ in range(trials):
            a, b = simulated_pair(random, frames, detectors)
            alone = [ap_intervals(one, random, replicates)[_KEY] for one in (a, b)]
            intervals = [*alone, compare(a, b, random, replicates).differences[_KEY]]
            low, high = np.array([(interval.low, interval.high) for interval in intervals]).T
            contained[pair] += (low <= truth) & (truth <= high)
            below += high < truth
            width += high - low
    count = pairs * trials
    shares = 100 * contained.sum(axis=0) / count, 100 * contained.min(axis=0) / trials, 100 * below / count
    columns = *shares, width / count
    rows = [Row((name, *(float(column[i]) for column in columns))) for i, name in enumerate(("a", "b", "b - a"))]
    noise = 200 * np.sqrt(0.05 * 0.95 / count)
    return Table(
        f"Coverage of 95 % intervals: {count} trials of {frames} frames, {replicates} replicates",
        (("AP40 of", "contain the true value, %", "least of a pair, %", "lie below it, %", "mean width"),),
        tuple(rows),
        (
            f"{pairs} pairs of detectors, true differences {min(differences):.1f} to {max(differences):.1f}",
            f"with so many trials, exact coverage shows as 95 % give or take {noise:.1f} %",
        ),
        digits=1,
    )


@dataclass(frozen=True)
class Detector:
    """A simulated detector of cars.

    Attributes:
        skill: how easily it finds cars; at 0 half of them.
        false_rate: false detections in a frame of middling difficulty.
    """

    skill: float
    false_rate: float


def simulated_pair(
    random: np.random.Generator, frames: int, detectors: Sequence[Detector]
) -> tuple[Evaluation, Evaluation]:
    """Two detectors on the same frames.

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
    for detector in detectors:
        felt = easy + detector.skill + random.normal(0.0, 0.7, len(easy))
        is_found = felt > 0.0
        false = random.poisson(detector.false_rate * np.exp(-0.4 * easy_frame))
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
