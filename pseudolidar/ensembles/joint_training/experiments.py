"""Ensembles trained for several betas and seeds, each its own stage, and what was measured of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pseudolidar.ensembles.joint_training.measurements import Training, read_training
from pseudolidar.files import InputError
from pseudolidar.systems import ArtifactStore, Stage, make_stages


@dataclass(frozen=True, eq=False)
class Design:
    """An experiment as it is planned.

    Attributes:
        name: of its files.
        title: for people.
        setting: what is trained on what, in a few sentences.
        compared: the loss that is decomposed, e.g. "cross-entropy".
        unit: of that loss; empty for a pure number.
        step: what the steps of training are, e.g. "epochs".
        stages: (beta, seed) -> what leaves the measurements; every beta with every seed, beta 0 among them. The seeds
            of two betas differ in nothing else.

    Raises:
        InputError: a beta without some seed, no beta 0 or no other one.
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
    """An experiment with what became of it.

    Attributes:
        design: as planned.
        trainings: (beta, seed) -> its course.
    """

    design: Design
    trainings: Mapping[tuple[float, int], Training]

    @property
    def betas(self) -> tuple[float, ...]:
        """The betas that were trained with, each once, ascending from 0."""
        return tuple(sorted({beta for beta, _ in self.trainings}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that every beta was trained with, each once, ascending."""
        return tuple(sorted({seed for _, seed in self.trainings}))

    def of(self, beta: float) -> list[Training]:
        """The trainings with one beta, in the order of `seeds`."""
        return [self.trainings[beta, seed] for seed in self.seeds]


def run_experiments(store: ArtifactStore, designs: Sequence[Design], workers: int = 1) -> list[Experiment]:
    """Train every ensemble that is not there yet, and read what was measured.

    Raises:
        InputError: two designs of one name, whose files would be the same; a stage failed.
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
