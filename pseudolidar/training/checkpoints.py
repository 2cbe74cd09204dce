"""Checkpoints on disk: written whole or not at all, read without ever running what a file says."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pseudolidar.files import FormatError, replacing, require_file

# Training scripts of others keep losses as numpy numbers beside the weights. These make numbers and nothing else; the
# function that makes them has had two names.
_SCALAR: Any = np.float64(0).__reduce__()[0]
_NUMPY_NUMBERS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64")),
]


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` (tensors and plain data) at once or not at all; equal content gives equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        # Through an open file: given a path, torch.save writes the (temporary) file's name into the archive.
        torch.save(dict(content), file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, on the CPU; only tensors and plain data are ever unpickled.

    Raises:
        FormatError: the file is truncated, holds anything but plain data, or has no `state_dict` and `arguments`.
    """
    content = load_plain(path, "a checkpoint written by pseudolidar")
    for key in ("state_dict", "arguments", "losses"):
        if not isinstance(content, dict) or key not in content:
            raise FormatError(path, key, "nothing", "a checkpoint written by pseudolidar")
    return content


def load_plain(path: Path, expected: str) -> Any:
    """What `torch.save` wrote, on the CPU, in today's format or in that from before PyTorch 1.6.

    Only tensors, containers, numbers and text are unpickled: a file that holds anything else is refused at that place,
    and nothing of it is run.

    Args:
        path: the file.
        expected: what it should hold, for the error.

    Raises:
        FormatError: no such file, a truncated one, no such format, or anything but plain data in it.
    """
    require_file(path, expected)
    try:
        with torch.serialization.safe_globals(_NUMPY_NUMBERS), warnings.catch_warnings():
            # PyTorch remarks on pickles of others before it refuses them.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's own message goes on to recommend the unsafe way.
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        found = "no tensors and plain data" if refused is None else f"{refused[1]}, neither a tensor nor plain data"
        raise FormatError(path, "pickle", f"{found}; nothing was run", expected) from error
    except Exception as error:
        # A file that is broken elsewhere: RuntimeError and EOFError say what is wrong, KeyError and others don't.
        said = str(error).split("\n")[0].split(". This is an internal")[0]
        reason = f" ({said})" if said and isinstance(error, RuntimeError | EOFError) else ""
        raise FormatError(path, "file", f"nothing readable{reason}", expected) from error
