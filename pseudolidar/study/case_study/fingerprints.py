"""What of a training or a file goes into the fingerprint of a stage."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from pseudolidar.files import FormatError


def training_settings(training: Any) -> dict[str, Any]:
    """The settings of a training, all but how often its state is written, which changes nothing."""
    return {name: value for name, value in dataclasses.asdict(training).items() if name != "checkpoint_every"}


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's content, hex.

    Raises:
        FormatError: no such file.
    """
    if not Path(path).is_file():
        raise FormatError(path, "file", "nothing there", "weights")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
