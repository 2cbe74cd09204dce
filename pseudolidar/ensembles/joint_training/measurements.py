"""What is measured of an ensemble while it trains, and the file that keeps it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pseudolidar.ensembles import DiversityDecomposition, SquaredErrorTally
from pseudolidar.files import FormatError, require_file, write_file

_FILE = "measurements.json"


@dataclass(frozen=True)
class ObjectiveLosses:
    """Mean loss of the members and loss of the ensemble, in the loss that was trained on."""

    individual: float
    ensemble: float


@dataclass(frozen=True)
class Measurement:
    """An ensemble on the training or on the test data.

    Attributes:
        decomposition: of the loss that is compared.
        bias_share: of the diversity (for probabilities: of their variance), 0 to 1; NaN where there is none.
        codependence: loss with 1 to M members kept; empty where it was not measured.
        objective: where training was on another loss than is compared.
    """

    decomposition: DiversityDecomposition
    bias_share: float
    codependence: tuple[float, ...] = ()
    objective: ObjectiveLosses | None = None


@dataclass(frozen=True)
class Snapshot:
    """An ensemble after some steps of its training."""

    step: int
    train: Measurement
    test: Measurement


@dataclass(frozen=True)
class Training:
    """One ensemble's course.

    Attributes:
        loss: what it was trained on, for people.
        snapshots: in the order of steps; the last is the ensemble as it is used.
    """

    loss: str
    snapshots: tuple[Snapshot, ...]

    @property
    def end(self) -> Snapshot:
        """The snapshot after the last step of the training."""
        return self.snapshots[-1]


def measurement_of(tally: SquaredErrorTally, objective: ObjectiveLosses | None = None) -> Measurement:
    """What follows from sums of squared errors."""
    whole = tally.decomposition()
    share = 1 - tally.debiased_diversity() / whole.diversity if whole.diversity > 0 else float("nan")
    return Measurement(whole, share, tally.codependence(), objective)


def write_training(folder: Path, training: Training) -> None:
    """Write measurements.json: the loss and, for each snapshot, its step and what was measured on either split."""
    steps = []
    for snapshot in training.snapshots:
        plain = asdict(snapshot)
        for split in (plain["train"], plain["test"]):
            split |= split.pop("decomposition")
        steps.append(plain)
    write_file(folder / _FILE, json.dumps({"loss": training.loss, "steps": steps}, indent=1))


def read_training(folder: Path) -> Training:
    """Read what `write_training` wrote.

    Raises:
        FormatError: no such file, or something else in it.
    """
    path = require_file(folder / _FILE, "measurements of an ensemble")
    place = "file"
    try:
        stored = json.loads(path.read_text())
        snapshots = []
        for number, entry in enumerate(stored["steps"], start=1):
            place = f"entry {number} of steps"
            snapshots.append(Snapshot(int(entry["step"]), *(_measurement(entry[split]) for split in ("train", "test"))))
        place = "steps"
        if not snapshots:
            raise ValueError("none")
        return Training(str(stored["loss"]), tuple(snapshots))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(path, place, str(error), "loss, and steps with step, train and test") from error


def _measurement(found: Mapping[str, Any]) -> Measurement:
    decomposition = DiversityDecomposition(*(float(found[name]) for name in ("individual", "diversity", "ensemble")))
    objective = None if found["objective"] is None else ObjectiveLosses(**found["objective"])
    return Measurement(decomposition, float(found["bias_share"]), tuple(found["codependence"]), objective)
