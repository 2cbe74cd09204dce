"""One evaluation in a process of its own, phase by phase, for `pseudolidar.benchmarks.evaluation`."""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path


def main(labels: str, results: str) -> None:
    """Print the seconds of each phase as JSON."""
    # The limit first, without anything of ours, and in a process in which no file was opened yet.
    start = time.perf_counter()
    _read_bytes([labels, results])
    seconds = {"bytes": time.perf_counter() - start}
    from pseudolidar.evaluation import build_scenes, evaluate_scenes, read_folders
    from pseudolidar.kitti import Objects

    # Kernels come from their cache at the first call.
    evaluate_scenes(build_scenes([Objects.empty()], [Objects.empty(scored=True)], None))
    start = time.perf_counter()
    _, truth, found = read_folders(labels, results)
    seconds["parsing"] = time.perf_counter() - start
    start = time.perf_counter()
    scenes = build_scenes(truth, found, None)
    seconds["overlaps"] = time.perf_counter() - start
    start = time.perf_counter()
    evaluate_scenes(scenes)
    seconds["matching"] = time.perf_counter() - start
    print(json.dumps(seconds))


def _read_bytes(folders: list[str]) -> None:
    """Every file of the folders, with as many threads as there are processors."""
    threads = os.cpu_count() or 1
    paths = [str(path) for folder in folders for path in sorted(Path(folder).iterdir())]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(partial(_read_share, paths, threads), range(threads)))


def _read_share(paths: list[str], threads: int, share: int) -> None:
    buffer = bytearray(1 << 20)
    for path in paths[len(paths) * share // threads : len(paths) * (share + 1) // threads]:
        handle = os.open(path, os.O_RDONLY)
        os.readv(handle, [buffer])
        os.close(handle)


if __name__ == "__main__":
    main(*sys.argv[1:])
