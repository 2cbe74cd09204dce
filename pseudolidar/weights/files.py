"""From what a user names to a file: a file of the user's, or one of the package's weights, checked before use."""

import functools
import re
from pathlib import Path

from pseudolidar.files import FormatError, InputError, file_digest
from pseudolidar.weights.town import Provenance, Weights

_FOLDER = Path(__file__).parent


def weights_file(source: str | Path) -> Path:
    """The file that `source` names: a name of `Weights` in small letters (`psmnet_town`), or any other path as it is.

    Raises:
        InputError: a word (letters, digits, _, -) that is neither; lists the known ones.
        FormatError: the package was installed without this file, or the file is not the one that was published.
    """
    known = {each.name.lower(): each.value for each in Weights}
    name = str(source)
    if name in known:
        return _packaged(_FOLDER / f"{name}.pt", known[name])
    path = Path(source)
    if re.fullmatch(r"[\w-]+", name) and not path.exists():
        raise InputError(f"weights: found {name}, expected a file, or one of the package's: {', '.join(known)}")
    return path


def weights_digest(source: str | Path, what: str = "weights") -> str:
    """SHA-256 of the file that `source` names, hex; `what` names the content in errors."""
    return file_digest(weights_file(source), what)


@functools.cache
def _packaged(path: Path, provenance: Provenance) -> Path:
    """The file, once its digest is the recorded one."""
    if not path.is_file():
        expected = "weights that come with the package: it was installed without them"
        raise FormatError(path, "file", "nothing there", expected)
    if (found := file_digest(path)) != provenance.sha256:
        raise FormatError(path, "SHA-256", f"{found[:16]}...", f"{provenance.sha256[:16]}...: install the package anew")
    return path
