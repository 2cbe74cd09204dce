"""Text files as other editors and tools leave them: any line ending, blank lines, the marks of Unicode encodings."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from pseudolidar.files.errors import FormatError
from pseudolidar.files.whole import require_file, saying_which_file

# The mark of UTF-32 begins with the one of UTF-16: longer ones first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_lines(path: str | Path, what: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file that hold something, each with its number, from 1, and without blanks at its ends.

    Lines end as `str.splitlines` has it: as on Unix, Windows or old Macintoshes. The encoding is UTF-8, or what a byte
    order mark says (UTF-8, UTF-16, UTF-32); bytes that are none are read as U+FFFD, since comments and names in other
    encodings are nobody's business here.

    Args:
        path: the file.
        what: it should hold; goes into the errors.

    Raises:
        FormatError: no such file, or NUL characters in it: UTF-16 without its mark, or a file that a crash left empty.
        FileError: the system refuses to read it.
    """
    path = require_file(path, what)
    with saying_which_file(path):
        data = path.read_bytes()
    mark, encoding = next((one for one in _MARKS if data.startswith(one[0])), (b"", "utf-8"))
    lines = data[len(mark) :].decode(encoding, errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise FormatError(path, f"line {number}", "NUL characters", f"{what}, as plain text (UTF-8)")
    return ((number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip())
