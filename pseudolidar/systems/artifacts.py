"""What stages leave on disk: a finished stage is not made again, and no two processes make the same one."""

import json
import time
from pathlib import Path

from pseudolidar.files import locked, replacing, require_output_folder
from pseudolidar.systems.stages import Stage
from pseudolidar.training import arithmetic_threads

_FINISHED = "stage.json"
_LOCK = ".lock"


class ArtifactStore:
    """A folder with one subfolder a stage. Any number of processes and machines that see the folder can share it.

    Args:
        root: the folder; made when the first stage is.

    Raises:
        FormatError: a file of that name.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = require_output_folder(root, "artifacts")

    def folder(self, stage: Stage) -> Path:
        """Where the stage's content is, or will be."""
        return self.root / stage.folder_name

    def is_finished(self, stage: Stage) -> bool:
        """Whether the stage's folder is complete."""
        return (self.folder(stage) / _FINISHED).is_file()

    def seconds(self, stage: Stage) -> float:
        """How long the finished stage took, s; without the time of runs that were killed in the middle."""
        return float(json.loads((self.folder(stage) / _FINISHED).read_text())["seconds"])

    def make(self, stage: Stage) -> bool:
        """Make a stage, whose parents are finished, in this process; return whether there was anything to make.

        If another process is making it, wait for that one.
        """
        folder = self.folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / _LOCK):
            if self.is_finished(stage):
                return False
            parents = {role: self.folder(parent) for role, parent in stage.parents.items()}
            started = time.monotonic()
            with arithmetic_threads(stage.resources.cpus):
                stage.task.run(folder, parents)
            seconds = round(time.monotonic() - started, 1)
            content = {**stage.record.to_dict(), "title": str(stage), "seconds": seconds}
            with replacing(folder / _FINISHED) as temporary:
                temporary.write_text(json.dumps(content, indent=1, sort_keys=True))
        return True
