"""Ensembles trained for several betas and seeds, each its own stage; their measurements, and the file of these."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pseudolidar.ensembles.decomposition import DiversityDecomposition
from pseudolidar.ensembles.diagnostics import SquaredErrorTally
from pseudolidar.files import FormatError, InputError, require_file, write_file
from pseudolidar.systems import ArtifactStore, Stage, make_stages

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
        objective: None where training was on the loss that is compared.
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
    """The course of one ensemble's training; the last of the snapshots is the trained ensemble.

    `loss` is the name of the loss that it was trained on.
    """

    loss: str
    snapshots: tuple[Snapshot, ...]

    @property
    def end(self) -> Snapshot:
        """The snapshot after the last step."""
        return self.snapshots[-1]


def measurement_of(tally: SquaredErrorTally, objective: ObjectiveLosses | None = None) -> Measurement:
    """The measurement from sums of squared errors."""
    whole = tally.decomposition()
    bias_share = 1 - tally.debiased_diversity() / whole.diversity if whole.diversity > 0 else float("nan")
    return Measurement(whole, bias_share, tally.codependence(), objective)


def write_training(folder: Path, training: Training) -> None:
    """Write measurements.json: the loss, and each snapshot's step and measurements on both splits."""
    steps = []
    for snapshot in training.snapshots:
        plain = asdict(snapshot)
        for split in (plain["train"], plain["test"]):
            split |= split.pop("decomposition")
        steps.append(plain)
    write_file(folder / _FILE, json.dumps({"loss": training.loss, "steps": steps}, indent=1))


def read_training(folder: Path) -> Training:
    """Read a file of `write_training`; FormatError if it is missing or another file."""
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


@dataclass(frozen=True, eq=False)
class Design:
    """The plan of an experiment; InputError for a beta without some seed, without beta 0 or with no other beta.

    Attributes:
        name, title: of its files; for people.
        setting: what is trained on what, in a few sentences.
        compared, unit: the loss that is decomposed, e.g. "cross-entropy", and its unit; empty for a pure number.
        step: unit of training steps, e.g. "epochs".
        stages: (beta, seed) -> the stage that writes the measurements; stages of one seed differ in beta alone.
    """

    name: str
    title: str
    setting: str
    compared: str
    unit: str
    step: str
    stages: Mapping[tuple[float, int], Stage]

    def __post_init__(self) -> None:
        betas = sorted({beta for beta, _ in self.stages})
        if len(betas) < 2 or betas[0] != 0:
            raise InputError(f"betas: found {betas}, expected 0 and others to compare with it")
        seeds = {seed for _, seed in self.stages}
        if len(self.stages) != len(betas) * len(seeds):
            raise InputError(f"stages: found {len(self.stages)}, expected each of {len(betas)} betas with each seed")

    @property
    def measure(self) -> str:
        """Name of the loss that is decomposed, with its unit."""
        return f"{self.compared} ({self.unit})" if self.unit else self.compared


@dataclass(frozen=True, eq=False)
class Experiment:
    """An experiment with its results; `trainings` by (beta, seed)."""

    design: Design
    trainings: Mapping[tuple[float, int], Training]

    @property
    def betas(self) -> tuple[float, ...]:
        """The betas, each once, ascending from 0."""
        return tuple(sorted({beta for beta, _ in self.trainings}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of every beta, each once, ascending."""
        return tuple(sorted({seed for _, seed in self.trainings}))

    def of(self, beta: float) -> list[Training]:
        """The trainings with one beta, in the order of `seeds`."""
        return [self.trainings[beta, seed] for seed in self.seeds]


def run_experiments(store: ArtifactStore, designs: Sequence[Design], workers: int = 1) -> list[Experiment]:
    """Train every ensemble that is not there yet, and read the measurements.

    InputError if two designs have the same name (their files would collide) or a stage fails.
    """
    names = [design.name for design in designs]
    if len(set(names)) < len(names):
        raise InputError(f"designs: found the names {', '.join(names)}, expected each once")
    outcome = make_stages(store, [stage for design in designs for stage in design.stages.values()], workers)
    for failure in outcome.failed:
        raise InputError(f"{failure.stage}: {failure.message}")
    return [
        Experiment(design, {key: read_training(store.folder(stage)) for key, stage in design.stages.items()})
        for design in designs
    ]
