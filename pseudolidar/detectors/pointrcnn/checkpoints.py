"""Weights of PointRCNN: checkpoints of this package, and the published ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudolidar.detectors.pointrcnn.model import PointRCNN
from pseudolidar.detectors.pointrcnn.training import PointRCNNTraining
from pseudolidar.files import FormatError
from pseudolidar.training import load_plain

_EXPECTED = "a PointRCNN's checkpoint, of this package or published (model_state)"


@dataclass(frozen=True)
class TrainedPointRCNN:
    """A network with its weights, in evaluation mode, and the rules it was trained under (`PointRCNNTraining`)."""

    model: PointRCNN
    class_name: str
    points: int
    score_threshold: float
    overlap: float
    max_depth: float | None


def load_pointrcnn(path: str | Path) -> TrainedPointRCNN:
    """Read a checkpoint, on the CPU; only tensors and plain data are ever unpickled.

    Published checkpoints (`{"model_state": ...}`, or the parameters alone) are taken for the published car model's.

    Raises:
        FormatError: no such file, a broken one, or weights of something else: the first parameter that differs is
            named.
    """
    path = Path(path)
    content = load_plain(path, _EXPECTED)
    if not isinstance(content, dict):
        raise FormatError(path, "content", type(content).__name__, _EXPECTED)
    if "arguments" not in content:
        model = PointRCNN()
        _load(model, content.get("model_state", content), path)
        rules = PointRCNNTraining(rpn_steps=0, rcnn_steps=0)
        return TrainedPointRCNN(model, "Car", rules.points, rules.score_threshold, rules.overlap, None)
    arguments: dict[str, Any] = content["arguments"]
    if "phase" in arguments:
        raise FormatError(path, "phase", arguments["phase"], "a detector whose training is finished")
    try:
        state = content["state_dict"]
        model = PointRCNN.from_arguments(arguments["network"])
        settings = arguments["settings"]
        trained = TrainedPointRCNN(
            model,
            arguments["class_name"],
            settings["points"],
            settings["score_threshold"],
            settings["overlap"],
            arguments["max_depth"],
        )
    except (KeyError, TypeError) as error:
        raise FormatError(path, "arguments", f"no {error}", _EXPECTED) from error
    _load(model, state, path)
    return trained


def _load(model: PointRCNN, state: Any, path: Path) -> None:
    if not isinstance(state, dict):
        raise FormatError(path, "weights", type(state).__name__, _EXPECTED)
    # Parallel training puts a prefix before the names.
    state = {str(name).removeprefix("module."): value for name, value in state.items()}
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}
    # Checkpoints from before PyTorch 0.4.1 do not count batches, and nothing here needs the count.
    own = {name: shape for name, shape in own.items() if name in given or not name.endswith("num_batches_tracked")}
    different = [name for name in sorted(own.keys() | given.keys()) if own.get(name) != given.get(name)]
    if different:
        name = different[0]
        expected = f"{own.get(name, 'no such parameter')}; {len(different)} parameters differ"
        raise FormatError(path, name, given.get(name, "nothing"), expected)
    model.load_state_dict(state, strict=False)
    model.eval()
