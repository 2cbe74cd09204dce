"""The evaluation of result folders as a user runs it: a fresh process, once on the frames given, once on ten copies."""

import contextlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pseudolidar.files import FormatError, InputError
from pseudolidar.tables import Row, Table, print_tables

_SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate.py"
_COPIES = 10


def main(
    labels: str | None = None, results: str | None = None, official: str | None = None, repetitions: int = 5
) -> None:
    """Print where the time goes, frames a second and peak memory.

    Args:
        labels, results: folders with KITTI label and result files.
        official: program of the official evaluation, called with the label folder and a folder that holds the results
            as `data`; None leaves it out.
        repetitions: of each, of which the medians are shown.
    """
    if labels is None or results is None:
        raise InputError("expected labels=DIR results=DIR, folders with KITTI label and result files")
    with tempfile.TemporaryDirectory() as folder:
        many = Path(folder) / "label_2", Path(folder) / "results"
        copy_frames(Path(labels), many[0])
        copy_frames(Path(results), many[1])
        print_tables(
            [
                evaluation_table(pair[0], pair[1], official, repetitions)
                for pair in ((Path(labels), Path(results)), many)
            ]
        )


def copy_frames(source: Path, target: Path) -> None:
    """Every frame's file ten times, under ids of their own."""
    if not source.is_dir():
        raise FormatError(source, "folder", "nothing there", "a folder with KITTI label or result files")
    target.mkdir(parents=True)
    for path in source.glob("*.txt"):
        for copy in range(_COPIES):
            shutil.copyfile(path, target / f"{copy}_{path.name}")


def evaluation_table(labels: Path, results: Path, official: str | None, repetitions: int) -> Table:
    """The whole command, its parts, the time in which the bytes alone are read, and the official tool."""
    frames = sum(1 for _ in labels.glob("*.txt"))
    whole, theirs = [], []
    phases: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(_SCRIPT), f"labels={labels}", f"results={results}", f"output={folder}/ap.json"]
        official_results = Path(folder) / "official"
        official_results.mkdir()
        (official_results / "data").symlink_to(results.resolve())
        # The first run compiles the kernels, if that was never done; the second is watched, which takes time.
        timed(command)
        peak_mib = peak_of(command)
        for _ in range(repetitions):
            whole.append(timed(command))
            parts = [sys.executable, "-m", "pseudolidar.benchmarks.evaluation_phases", str(labels), str(results)]
            done = subprocess.run(parts, check=True, capture_output=True, text=True)
            for name, part in json.loads(done.stdout).items():
                phases.setdefault(name, []).append(part)
            if official is not None:
                theirs.append(timed([official, str(labels), str(official_results)]))
    total = statistics.median(whole)
    part_of = {name: statistics.median(values) for name, values in phases.items()}
    limit = part_of.pop("bytes")
    rows = [
        Row(("python scripts/evaluate.py", 1e3 * total, peak_mib)),
        Row(("  start-up: Python, libraries, configuration, compiled kernels", 1e3 * (total - sum(part_of.values())))),
        Row(("  reading and parsing", 1e3 * part_of["parsing"])),
        Row(("  overlaps", 1e3 * part_of["overlaps"])),
        Row(("  matching, precision and recall", 1e3 * part_of["matching"])),
        Row(("reading the bytes alone (the limit)", 1e3 * limit), rule_above=True),
    ]
    notes = [f"{frames / total:.0f} frames a second in a fresh process, medians of {repetitions}"]
    if theirs:
        rows.append(Row(("official tool", 1e3 * statistics.median(theirs))))
        notes.append(f"{statistics.median(theirs) / total:.1f} times as fast as the official tool")
    return Table(
        f"Evaluation: {frames} frames, {os.cpu_count()} processors",
        (("", "ms", "peak MiB"),),
        tuple(Row((*row.cells, *[None] * (3 - len(row.cells))), rule_above=row.rule_above) for row in rows),
        tuple(notes),
        digits=0,
    )


def timed(command: list[str]) -> float:
    """Seconds that a program takes.

    Raises:
        InputError: it ended with an error.
    """
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing on standard error"])[-1]
        raise InputError(f"{command[0]}: found exit code {done.returncode} ({last}), expected 0")
    return seconds


def peak_of(command: list[str]) -> float:
    """Peak of a program's resident memory, MiB; NaN where the system does not tell (it is Linux that does).

    Asked again and again while it runs: what the system tells at its end counts this process's memory too, in which
    every new process begins.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status, peak_kib = Path(f"/proc/{process.pid}/status"), math.nan
    while process.poll() is None:
        with contextlib.suppress(OSError):
            # A program that has ended but was not asked yet has no such line.
            lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
            peak_kib = int(lines[0].split()[1]) if lines else peak_kib
        time.sleep(0.005)
    return peak_kib / 1024
