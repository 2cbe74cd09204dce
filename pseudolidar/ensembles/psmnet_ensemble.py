"""Several PSMNets as one model: a module that trains together, and its file of weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pseudolidar.ensembles.members import Ensemble
from pseudolidar.files import FormatError
from pseudolidar.stereo import PSMNet, PSMNetWeights
from pseudolidar.stereo.checkpoints import arguments_of
from pseudolidar.training import load_checkpoint

_MEMBERS = "members"


class PSMNetEnsemble(Ensemble):
    """M PSMNets of one kind; the ensemble's disparity is the mean of theirs.

    Called with a pair, as `PSMNet`, it returns float32 px (M, B, H, W) in evaluation mode; in training mode a tuple of
    such, one for each hourglass.

    Args:
        members: the networks.

    Raises:
        ValueError: none, or networks of several kinds.
    """

    def __init__(self, members: Sequence[PSMNet]) -> None:
        super().__init__(members)
        kinds = [arguments_of(member) for member in members]
        if any(kind != kinds[0] for kind in kinds):
            raise ValueError(f"members: found {kinds}, expected networks of one kind")

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor arguments of a member, and how many there are: what a checkpoint records."""
        member = self.members[0]
        assert isinstance(member, PSMNet)
        return {**arguments_of(member), _MEMBERS: len(self.members)}

    @property
    def max_disparity(self) -> int:
        """Disparities that every member can predict lie below it, px."""
        return int(self.arguments["max_disparity"])


def is_ensemble(path: str | Path) -> bool:
    """Whether a file of weights is an ensemble's checkpoint."""
    weights = PSMNetWeights.from_file(path)
    return weights.arguments is not None and _MEMBERS in weights.arguments


def load_ensemble_weights(path: str | Path) -> list[PSMNetWeights]:
    """The weights of each member of an ensemble's checkpoint, as if each had a file of its own.

    Raises:
        FormatError: no such file, a truncated one, or not an ensemble's.
    """
    path = Path(path)
    content = load_checkpoint(path)
    arguments: Mapping[str, Any] = content["arguments"]
    if _MEMBERS not in arguments:
        raise FormatError(path, "arguments", ", ".join(arguments) or "nothing", f"{_MEMBERS}: how many there are")
    own = {name: value for name, value in arguments.items() if name != _MEMBERS}
    weights = []
    for member in range(arguments[_MEMBERS]):
        prefix = f"{_MEMBERS}.{member}."
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in content["state_dict"].items()
            if name.startswith(prefix)
        }
        if not state:
            raise FormatError(path, f"member {member}", "no weights", f"those of {arguments[_MEMBERS]} members")
        weights.append(PSMNetWeights(path, state, own, content.get("precision", "float32")))
    return weights
