"""The record of how an output was made: an output that is found again is used only if its record is the same.

A file of ours holds its record inside (a checkpoint), a folder beside its files (`record.json`). The record of a folder
also has a digest of each item's inputs: more items can join, and none of other inputs is kept.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pseudolidar
from pseudolidar.files.errors import FormatError, saying_which_file
from pseudolidar.files.reading import require_file
from pseudolidar.files.writing import require_output_folder, write_file

RECORD_FILE = "record.json"
"""Name of the file, in a folder of outputs, that holds its record."""

_LOCK_FILE = ".record.lock"
# What is read of a large file, at its beginning and at its end.
_END_BYTES = 4096
# Differences that an error names.
_NAMED = 3
_MISSING = object()
_SHA256 = re.compile("[0-9a-f]{64}")
_REMEDY = "overwrite=true replaces it, another output keeps it"


@dataclass(frozen=True)
class Record:
    """All that determines an output.

    Attributes:
        what: the kind of output, e.g. "disparity model".
        settings: that change the result, the seed among them; plain data, nested. Without those that change nothing
            (threads, workers, how often a state is written).
        inputs: digests of its inputs, by name: `file_digest`, `files_digest`.
        version: of the package, or of the code that made it.
    """

    what: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    version: str = pseudolidar.__version__

    def __post_init__(self) -> None:
        # As they come back from a file: lists for tuples, text for paths.
        object.__setattr__(self, "settings", json.loads(json.dumps(self.settings, default=_plain)))
        object.__setattr__(self, "inputs", dict(self.inputs))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stand for the whole record."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain data, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Record":
        """The inverse of `to_dict`; KeyError or TypeError for anything that is no record."""
        return cls(content["what"], content["settings"], content["inputs"], content["version"])


def require_same_record(path: str | Path, there: Record | None, now: Record) -> None:
    """Raise a FormatError if the output at `path` was not made as is asked for now; `there` is None without a record.

    The error names the first settings or inputs that differ, with both values, and what the user can do.
    """
    if there is None:
        raise FormatError(path, "record", "none of how it was made", f"that of {now.what}; {_REMEDY}")
    differing = _differences(there, now)
    if differing:
        more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
        found = ", ".join(_named(name, there) for name, there, _ in differing[:_NAMED])
        expected = ", ".join(_named(name, now) for name, _, now in differing[:_NAMED])
        raise FormatError(path, "record", f"{found}{more}", f"{expected}, as asked for now; {_REMEDY}")


@contextmanager
def claimed(
    folder: str | Path, record: Record, items: Mapping[str, str], outputs: Sequence[str], overwrite: bool = False
) -> Iterator[None]:
    """Claim `folder` for items made as `record` says, to be made inside of the `with`.

    Items that are there with the same record and digest are to be left alone; new ones may join. Several processes may
    claim a folder at once. Where an error ends the `with` before anything is made, the folder is free again.

    Args:
        folder: made if missing.
        record: of what all items have in common.
        items: the digest of each item's own inputs (`files_digest`), by name.
        outputs: the files of an item, its name for {}: "{}.npy", "variance/{}.npy".
        overwrite: items made otherwise are removed, to be made again.

    Raises:
        FormatError: a file of that name; items of another record or digest, or files without a record, unless
            `overwrite`.
    """
    folder = require_output_folder(folder, record.what)
    with saying_which_file(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / _LOCK_FILE):
        is_new = _claim(folder, record, items, outputs, overwrite)
    try:
        yield
    except BaseException:
        if is_new and not any(file.exists() for name in items for file in _files(folder, name, outputs)):
            (folder / RECORD_FILE).unlink(missing_ok=True)
        raise


def _claim(folder: Path, record: Record, items: Mapping[str, str], outputs: Sequence[str], overwrite: bool) -> bool:
    """Whether the record is a new one."""
    path = folder / RECORD_FILE
    content = _read(path, "a folder", ("items", "outputs")) if path.is_file() else None
    if content is not None and overwrite and _differences(content["record"], record):
        _remove(folder, content["items"], content["outputs"])
        content = None
    if content is not None:
        require_same_record(path, content["record"], record)
    before = ({}, []) if content is None else (content["items"], content["outputs"])
    known = dict(before[0])
    for name, digest in items.items():
        same = known.get(name) == digest
        # Files that another format of the same items would take are nobody's yet.
        files = _files(folder, name, [output for output in outputs if not (same and output in before[1])])
        made = [file for file in files if file.exists()]
        if made and overwrite:
            _remove(folder, [name], outputs)
        elif made and (same or name not in known):
            require_same_record(made[0], None, record)
        elif made:
            require_same_record(made[0], _of_item(record, name, known[name]), _of_item(record, name, digest))
        known[name] = digest
    now = known, [*before[1], *(one for one in outputs if one not in before[1])]
    if content is None or now != before:
        write_file(path, json.dumps({**record.to_dict(), "outputs": now[1], "items": known}, indent=1))
    return content is None


def _read(path: Path, what: str, others: Sequence[str] = ()) -> dict[str, Any]:
    """A file's "record", and the `others` beside it."""
    try:
        content = json.loads(path.read_text())
        return {"record": Record.from_dict(content), **{name: content[name] for name in others}}
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(path, "file", f"no record of {what}", "what an earlier run wrote") from error


def keep_record(path: str | Path, record: Record) -> None:
    """Write a record to a JSON file of its own or, if the file exists, check that it holds the same one.

    Anything else in it is a FormatError.
    """
    path = Path(path)
    if path.is_file():
        require_same_record(path, _read(path, record.what)["record"], record)
    else:
        write_file(path, json.dumps(record.to_dict(), indent=1))


def file_digest(path: str | Path, what: str = "a file") -> str:
    """SHA-256 of a file's whole content, hex; for weights. `what` names the content in errors."""
    with saying_which_file(path), open(require_file(path, what), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_digest(paths: Iterable[Path]) -> str:
    """A digest of files that may be large, 16 hex digits: of their names, sizes, first and last 4 KiB.

    Names are without folders: a data set may move. A missing file changes the digest, too.
    """
    digest = hashlib.sha256()
    for path in paths:
        with saying_which_file(path):
            try:
                handle = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                digest.update(f"{path.name} -\n".encode())
                continue
            try:
                size = os.fstat(handle).st_size
                digest.update(f"{path.name} {size}\n".encode())
                digest.update(os.pread(handle, _END_BYTES, 0))
                if size > _END_BYTES:
                    digest.update(os.pread(handle, _END_BYTES, max(_END_BYTES, size - _END_BYTES)))
            finally:
                os.close(handle)
    return digest.hexdigest()[:16]


def combined_digest(digests: Mapping[str, str]) -> str:
    """One digest of many, by name: the number of items, and 16 hex digits."""
    listing = "".join(f"{name} {digest}\n" for name, digest in digests.items())
    return f"{len(digests)} items, {hashlib.sha256(listing.encode()).hexdigest()[:16]}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that one process at a time can have; the kernel drops it with the process, however that ends."""
    with saying_which_file(path):
        lock = path.open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"a record holds plain data, not {value!r}")


def _differences(there: Record, now: Record) -> list[tuple[str, object, object]]:
    return [
        *_differing({"kind of output": there.what}, {"kind of output": now.what}),
        *_differing(there.settings, now.settings),
        *_differing(there.inputs, now.inputs),
        *_differing({"version": there.version}, {"version": now.version}),
    ]


def _differing(
    there: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, object, object]]:
    for name in {**now, **there}:
        old, new = there.get(name, _MISSING), now.get(name, _MISSING)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differing(old, new, f"{prefix}{name}.")
        elif old != new:
            yield f"{prefix}{name}", old, new


def _named(name: str, value: object) -> str:
    if value is _MISSING:
        return f"no {name}"
    # The first digits of a file's digest tell it from another one.
    text = str(value)
    return f"{name}={text[:16] if _SHA256.fullmatch(text) else text}"


def _of_item(record: Record, name: str, digest: str) -> Record:
    return dataclasses.replace(record, inputs={**record.inputs, f"input files of {name}": digest})


def _files(folder: Path, name: str, outputs: Sequence[str]) -> list[Path]:
    return [folder / pattern.replace("{}", name) for pattern in outputs]


def _remove(folder: Path, names: Iterable[str], outputs: Sequence[str]) -> None:
    for name in names:
        for file in _files(folder, name, outputs):
            file.unlink(missing_ok=True)
