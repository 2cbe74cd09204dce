"""Systems of models: a graph of vertices, each trained, predicting and tested after its parents; replacing one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import networkx as nx

from pseudolidar.systems.losses import ItemLosses
from pseudolidar.systems.stages import ArtifactStore, Resources, Stage

Step = Literal["train", "predict", "test"]
STEPS: tuple[Step, ...] = ("train", "predict", "test")


@dataclass(frozen=True)
class Inputs:
    """The folders and the seed that a step of a model is given.

    Attributes:
        parents: by the parent's name, the folder of its predictions.
        model, predictions, tested: the folders that train, predict and test filled; None before, and without the step.
    """

    data: Path
    parents: Mapping[str, Path]
    seed: int
    model: Path | None = None
    predictions: Path | None = None
    tested: Path | None = None


class Model:
    """How to train, to predict and to test: a base for frozen dataclasses at the top of their modules.

    For each of its steps a model has a method, `run_train`, `run_predict` or `run_test`, of `Inputs` and the folder to
    fill. Called again after a kill, it continues from the folder's content.

    Attributes:
        versions: of the code of each step that the model has, in the order of `STEPS`, increased when the same settings
            give another result. A model without training has no "train", one that is not scored by itself no "test".
    """

    versions: ClassVar[Mapping[Step, int]]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that the model has."""
        return tuple(self.versions)

    def version(self, step: Step) -> int:
        """Of the step's code."""
        return self.versions[step]

    def settings(self, step: Step) -> Mapping[str, Any]:
        """JSON-able: all that determines the step's result beside data, parents, seed and the steps before it."""
        return {}

    def resources(self, step: Step) -> Resources:
        """Processor threads and GPUs that the step takes."""
        return Resources()

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Do one step by the method of its name: `run_train`, `run_predict` or `run_test`."""
        getattr(self, f"run_{step}")(inputs, folder)

    def test_loss(self, inputs: Inputs) -> ItemLosses:
        """The test loss, item by item, once "test" is done."""
        raise NotImplementedError


@dataclass(frozen=True)
class Vertex:
    """A model in its place; `parents` are the vertices whose predictions it is trained on and fed with.

    `trained_on`: vertices whose predictions, or trained model, it sees besides in training and does without afterwards.
    """

    name: str
    model: Model
    parents: tuple[str, ...] = ()
    title: str = ""
    trained_on: Mapping[str, Literal["predict", "train"]] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.title or self.name


@dataclass(frozen=True)
class StepTask:
    """One step of a vertex as a stage's task; `seed` is None where nothing is trained, so that no seed matters."""

    model: Model
    step: Step
    seed: int | None

    @property
    def version(self) -> int:
        """The model's, for this step."""
        return self.model.version(self.step)

    def settings(self) -> Mapping[str, Any]:
        """The model's settings for this step, and the seed if something is trained."""
        return {**self.model.settings(self.step), **({} if self.seed is None else {"seed": self.seed})}

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        """Do the step; roles are `data`, names of steps, and parents of the vertex."""
        self.model.run(self.step, _inputs(parents, self.seed or 0), folder)


class System:
    """A static directed acyclic graph of models on one data set ("Fixes That Fail", section 2).

    `data` is the stage whose folder is the data set; `graph` holds the vertices' names, an edge for every parent.
    `taken`: by the name that they have here, vertices of other systems on the same data, which stay what they are
    there, stages included: two versions of a model can then be parents in one system.

    Raises:
        ValueError: two vertices of one name, one called data or as a step, an unknown parent, a circle.
    """

    def __init__(
        self,
        data: Stage,
        vertices: Sequence[Vertex],
        name: str = "",
        taken: Mapping[str, tuple["System", str]] | None = None,
    ) -> None:
        self.data = data
        self.name = name
        self.vertices = {vertex.name: vertex for vertex in vertices}
        self.taken = dict(taken or {})
        names = [*self.taken, *(vertex.name for vertex in vertices)]
        if len({*names}) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"vertices: found {twice!r} twice, expected each name once")
        for name in ("data", *STEPS):
            if name in names:
                raise ValueError(f"vertices: found the name {name!r}, expected none of data, {', '.join(STEPS)}")
        self.graph: nx.DiGraph = nx.DiGraph()
        self.graph.add_nodes_from(names)
        for vertex in vertices:
            for parent in (*vertex.parents, *vertex.trained_on):
                if parent not in names:
                    raise ValueError(
                        f"parents of {vertex.name!r}: found {parent!r}, expected one of {', '.join(names)}"
                    )
                self.graph.add_edge(parent, vertex.name)
        if not nx.is_directed_acyclic_graph(self.graph):
            circle = " -> ".join(edge[0] for edge in nx.find_cycle(self.graph))
            raise ValueError(f"vertices: found the circle {circle}, expected a graph without circles")

    @cached_property
    def order(self) -> list[str]:
        """The vertices' names, parents first, otherwise as they were given."""
        places = {name: place for place, name in enumerate((*self.taken, *self.vertices))}
        return list(nx.lexicographical_topological_sort(self.graph, key=places.__getitem__))

    def descendants(self, name: str) -> list[str]:
        """The vertices that depend on one, nearest first."""
        descendants = nx.descendants(self.graph, name)
        return [other for other in self.order if other in descendants]

    def replaced(self, *vertices: Vertex, name: str = "") -> "System":
        """The system after an update: other vertices in the places of those of the same names; ValueError if none."""
        for vertex in vertices:
            if vertex.name not in self.vertices:
                known = ", ".join(self.vertices)
                raise ValueError(f"update: found a vertex named {vertex.name!r}, expected one of {known}")
        others = {vertex.name: vertex for vertex in vertices}
        return System(self.data, list({**self.vertices, **others}.values()), name, self.taken)

    def stages(self, seed: int) -> dict[tuple[str, Step], Stage]:
        """Every step of every vertex; trainings with this seed."""
        stages: dict[tuple[str, Step], Stage] = {}
        for here, (system, there) in self.taken.items():
            own = system.stages(seed)
            stages |= {(here, step): stage for (name, step), stage in own.items() if name == there}
        for name in self.order:
            if name in self.taken:
                continue
            vertex = self.vertices[name]
            inputs = {"data": self.data, **{parent: stages[parent, "predict"] for parent in vertex.parents}}
            besides = {parent: stages[parent, step] for parent, step in vertex.trained_on.items()}
            for step in vertex.model.steps:
                stages[name, step] = Stage(
                    f"{step}-{name}",
                    StepTask(vertex.model, step, seed if step == "train" else None),
                    {**inputs, **(besides if step == "train" else {})},
                    vertex.model.resources(step),
                    f"{step} {vertex} [{self.name}{', ' if self.name else ''}seed {seed}]",
                )
                # A test needs no more than what was predicted; a prediction no more than the model and its parents.
                inputs[step] = stages[name, step]
        return stages

    def is_trained(self, name: str) -> bool:
        """Whether a vertex, or one that it depends on, is trained: then another seed gives other predictions."""
        upstream = {name, *nx.ancestors(self.graph, name)}
        if any(self.taken[other][0].is_trained(self.taken[other][1]) for other in upstream & {*self.taken}):
            return True
        return any("train" in self.vertices[other].model.steps for other in upstream - {*self.taken})

    def test_loss(self, store: ArtifactStore, name: str, seed: int) -> ItemLosses:
        """The test loss of a vertex whose stages are finished; ValueError for a vertex without one."""
        if name in self.taken:
            system, there = self.taken[name]
            return system.test_loss(store, there, seed)
        model = self.vertices[name].model
        if "test" not in model.steps:
            raise ValueError(f"test loss: found a vertex without one, {name!r}, expected one that is tested")
        tested = self.stages(seed)[name, "test"]
        folders = {role: store.folder(stage) for role, stage in (*tested.parents.items(), ("test", tested))}
        return model.test_loss(_inputs(folders, seed))


def _inputs(folders: Mapping[str, Path], seed: int) -> Inputs:
    parents = {role: folder for role, folder in folders.items() if role not in ("data", *STEPS)}
    return Inputs(folders["data"], parents, seed, *(folders.get(step) for step in STEPS))
