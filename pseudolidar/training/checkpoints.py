"""Checkpoints on disk: written whole or not at all, read without ever running what a file says.

`.safetensors` holds the tensors of `state_dict` by name, and all else that a checkpoint says as JSON in its metadata;
the other suffixes are PyTorch's own format.
"""

import io
import json
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pseudolidar.files import FormatError, require_file, require_output_file, write_file
from pseudolidar.weights import weights_file

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".tar", ".safetensors")
"""What the name of a checkpoint ends in, in whatever case."""

# One entry alone: safetensors writes several in any order, and equal content should give equal bytes.
_METADATA_KEY = "pseudolidar"

# Training scripts of others keep losses as numpy numbers beside the weights. These make numbers and nothing else; the
# function that makes them has had two names.
_SCALAR: Any = np.float64(0).__reduce__()[0]
_NUMPY_NUMBERS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64")),
]

# What reading a damaged file raises, besides UnpicklingError; found by damaging some in thousands of ways.
_BROKEN = (
    RuntimeError, EOFError, OSError, ValueError, LookupError, AssertionError, AttributeError, TypeError, OverflowError,
    struct.error,
)  # fmt: skip


def require_checkpoint_path(path: str | Path) -> None:
    """Before a training: see that a checkpoint can have this name.

    Raises:
        FormatError: another suffix than `CHECKPOINT_SUFFIXES`, or a folder of that name.
    """
    require_output_file(path, CHECKPOINT_SUFFIXES, "a checkpoint")


def save_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write `content` at once or not at all; equal content gives equal bytes.

    `.safetensors` takes the tensors of `state_dict`, by name, beside what JSON can hold (it gives lists for tuples);
    every other suffix takes tensors and plain data, in PyTorch's format.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        rest = dict(content)
        # It takes no views: each tensor has its memory to itself, in the order of its dimensions.
        state = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in rest.pop("state_dict").items()
        }
        buffer = save(state, {_METADATA_KEY: json.dumps(rest)})
    else:
        # In memory first: given a path, torch.save writes the (temporary) file's name into the archive.
        archive = io.BytesIO()
        torch.save(dict(content), archive)
        buffer = archive.getvalue()
    write_file(path, buffer)


def load_checkpoint(path: str | Path, expected: str = "a checkpoint written by pseudolidar") -> dict[str, Any]:
    """Read a checkpoint, or weights of the package by name, on the CPU; only tensors and plain data are ever unpickled.

    Raises:
        FormatError: the file is truncated, holds anything but plain data, or has no `state_dict` and `arguments`.
    """
    content = load_plain(path, expected)
    for key in ("state_dict", "arguments", "losses"):
        if not isinstance(content, dict) or key not in content:
            raise FormatError(path, key, "nothing", "a checkpoint written by pseudolidar")
    return content


def load_plain(path: str | Path, expected: str) -> Any:
    """The content of what `weights_file` takes, on the CPU; `expected` says in an error what it should hold.

    That is what `torch.save` wrote, in today's format or in that from before PyTorch 1.6; of `.safetensors` what
    `save_checkpoint` was given, or the tensors by name where others wrote it. Only tensors, containers, numbers and
    text are unpickled: a file that holds anything else is refused at that place, and nothing of it is run.

    Raises:
        FormatError: no such file, a truncated one, no such format, or anything but plain data in it.
    """
    path = require_file(weights_file(path), expected)
    if path.suffix.lower() == ".safetensors":
        return _load_safetensors(path, expected)
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
    except _BROKEN as error:
        said = str(error).split("\n")[0].split(". This is an internal")[0]
        if "can't allocate memory" in said:
            raise
        # RuntimeError and EOFError say what is wrong (or recommend the unsafe way), KeyError and others don't.
        says_why = said and isinstance(error, RuntimeError | EOFError | OSError) and "weights_only" not in said
        reason = f" ({said})" if says_why else ""
        raise FormatError(path, "file", f"nothing readable{reason}", expected) from error


def matching_state(
    path: str | Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], network: str
) -> dict[str, Tensor]:
    """The tensors of `found`, of the file at `path`, in the types of `expected`, a network's own; copies.

    FormatError unless they are all of `expected`, of the same shapes, and finite; `network` names it in the error.
    """
    shapes = [name for name in expected if name in found and found[name].shape != expected[name].shape]
    # PyTorch counts batches from 0.4.1 on; no network depends on the count.
    missing = [name for name in expected if name not in found and not name.endswith("num_batches_tracked")]
    unknown = [name for name in found if name not in expected]
    if shapes or missing or unknown:
        name = (shapes + missing + unknown)[0]
        there = f"{tuple(found[name].shape)}" if name in found else "nothing"
        wanted = f"{tuple(expected[name].shape)}" if name in expected else "no such layer"
        count = f"differences in all: {len(shapes)} shapes, {len(missing)} missing, {len(unknown)} unknown"
        raise FormatError(path, name, there, f"{wanted} for {network} ({count})")
    complete = {}
    for name, tensor in expected.items():
        complete[name] = found.get(name, torch.zeros(())).detach().to(tensor.dtype, copy=True)
        if not complete[name].isfinite().all():
            raise FormatError(path, name, "NaN or infinity", "finite numbers")
    return complete


def _load_safetensors(path: Path, expected: str) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise FormatError(path, "file", f"nothing readable ({error})", f"{expected} in safetensors") from error
    if _METADATA_KEY not in metadata:
        return state
    try:
        return {**dict(json.loads(metadata[_METADATA_KEY])), "state_dict": state}
    except (ValueError, TypeError) as error:
        raise FormatError(path, f"metadata {_METADATA_KEY}", metadata[_METADATA_KEY][:80], "JSON") from error
