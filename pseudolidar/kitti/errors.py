"""The one error that every reader of files raises."""

from pathlib import Path


class FormatError(ValueError):
    """A file does not hold what it should.

    Args:
        path: the file.
        place: where in the file, e.g. "line 3, field 15 (rotation_y)"; "file" for the whole of it.
        found: what stands there.
        expected: what should stand there.
    """

    def __init__(self, path: str | Path, place: str, found: object, expected: str) -> None:
        self.path = Path(path)
        self.place = place
        self.found = found
        self.expected = expected
        super().__init__(f"{path}: {place}: found {found}, expected {expected}")
