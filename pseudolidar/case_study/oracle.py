"""y in the case study: the data set's own truth at the place of u."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudolidar.files import replacing
from pseudolidar.kitti import ObjectDataset
from pseudolidar.systems import Inputs, Resources, Step

_ORACLE_FILE = "oracle.json"


@dataclass(frozen=True)
class Oracle:
    """y in the paper: the true depth, exact disparity or LiDAR. Its prediction is a file that says which it is."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Nothing to train, nothing to test."""
        return ("predict",)

    def settings(self, step: Step) -> Mapping[str, Any]:
        """Empty: the truth depends on the data set alone."""
        return {}

    def version(self, step: Step) -> int:
        """Version of the file that says which truth there is."""
        return 1

    def resources(self, step: Step) -> Resources:
        """One processor thread, no GPU."""
        return Resources()

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Write down which truth there is."""
        truth = "disparity" if ObjectDataset(inputs.data, "val")[0].has_exact_disparity() else "velodyne"
        with replacing(folder / _ORACLE_FILE) as temporary:
            temporary.write_text(json.dumps({"truth": truth}))


def truth_of(predictions: Path) -> str | None:
    """`disparity` or `velodyne` where a folder of predictions is the oracle's, else None."""
    path = predictions / _ORACLE_FILE
    return str(json.loads(path.read_text())["truth"]) if path.is_file() else None
