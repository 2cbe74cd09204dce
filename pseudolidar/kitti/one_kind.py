"""Folders that hold results of one kind: what made them lies beside them, and nothing else is added."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pseudolidar.kitti.errors import FormatError
from pseudolidar.kitti.files import replacing


def require_same_settings(path: Path, settings: Mapping[str, Any], what: str) -> None:
    """Write `settings` to `path` (JSON), or, where an earlier run did, see that they are the same.

    Args:
        path: a file in the folder of results.
        settings: what determines the results.
        what: they are, e.g. clouds; for the error.

    Raises:
        FormatError: other settings there, or no settings at all.
    """
    if not path.is_file():
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(settings, indent=1))
        return
    try:
        made_with = json.loads(path.read_text())
        there = {key: made_with[key] for key in settings}
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(path, "file", f"no settings of {what}", "what an earlier run wrote") from error
    for key, value in settings.items():
        if there[key] != value:
            expected = f"{value}, as asked for now; take another folder, or remove this one with its {what}"
            raise FormatError(path, key, there[key], expected)
