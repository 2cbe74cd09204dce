"""Files written whole, the record of how each was made, errors for users, progress."""

from pseudolidar.files.errors import (
    DivergenceError,
    FileError,
    FormatError,
    InputError,
    UserError,
    WorkerError,
    saying_which_file,
)
from pseudolidar.files.overlap import overlapped
from pseudolidar.files.processes import ProcessPool, end_with
from pseudolidar.files.progress import is_first_process, progress_bar, track
from pseudolidar.files.reading import read_bytes, read_lines, read_npy, read_npz, require_file, require_suffix
from pseudolidar.files.record import (
    RECORD_FILE,
    Record,
    claimed,
    combined_digest,
    file_digest,
    files_digest,
    keep_record,
    locked,
    require_same_record,
)
from pseudolidar.files.writing import replacing, require_output_file, require_output_folder, write_file, write_npy

__all__ = [
    "RECORD_FILE",
    "DivergenceError",
    "FileError",
    "FormatError",
    "InputError",
    "ProcessPool",
    "Record",
    "UserError",
    "WorkerError",
    "claimed",
    "combined_digest",
    "end_with",
    "file_digest",
    "files_digest",
    "is_first_process",
    "keep_record",
    "locked",
    "overlapped",
    "progress_bar",
    "read_bytes",
    "read_lines",
    "read_npy",
    "read_npz",
    "replacing",
    "require_file",
    "require_output_file",
    "require_output_folder",
    "require_same_record",
    "require_suffix",
    "saying_which_file",
    "track",
    "write_file",
    "write_npy",
]
