"""The suffix of an output says its format; a name that says none is refused before any work, by every command."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from pseudolidar.cloud import write_cloud, write_clouds
from pseudolidar.detectors.boxes2d import write_detections_file
from pseudolidar.files import FormatError, require_output_folder
from pseudolidar.kitti import read_disparity, read_image, read_pfm, read_points, write_disparity, write_image
from pseudolidar.viewing import Report, save_figure, write_report
from tests.forked import start_script

MAP = np.arange(30 * 40, dtype=np.float32).reshape(30, 40) / 7
PICTURE = np.full((8, 9, 3), 77, np.uint8)
POINTS = np.arange(40, dtype=np.float32).reshape(10, 4)


def figure() -> Figure:
    return Figure(figsize=(1, 1))


WRITERS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "disparity": (lambda path: write_disparity(path, MAP), (".npy", ".png", ".pfm")),
    "image": (lambda path: write_image(path, PICTURE), (".png", ".jpg", ".jpeg")),
    "cloud": (lambda path: write_cloud(path, POINTS), (".bin", ".npy", ".npz")),
    "figure": (lambda path: save_figure(figure(), path), (".png", ".webp", ".svg", ".pdf")),
    "boxes": (lambda path: write_detections_file(path, {}), (".txt",)),
    "report": (lambda path: write_report(Report("a", "b", ()), path), (".html",)),
}
BEGINNINGS = {
    ".npy": b"\x93NUMPY", ".png": b"\x89PNG", ".pfm": b"Pf\n", ".jpg": b"\xff\xd8", ".jpeg": b"\xff\xd8", ".npz": b"PK",
    ".webp": b"RIFF", ".svg": b"<?xml", ".pdf": b"%PDF", ".html": b"<!doctype html>", ".bin": POINTS.tobytes()[:8],
    ".txt": b"",
}  # fmt: skip


@pytest.mark.parametrize("what", WRITERS)
def test_a_writer_writes_what_the_suffix_says(tmp_path: Path, what: str) -> None:
    write, suffixes = WRITERS[what]
    for suffix in suffixes:
        for name in (f"a{suffix}", f"b{suffix.upper()}"):
            write(tmp_path / name)
            assert (tmp_path / name).read_bytes()[:20].lower().startswith(BEGINNINGS[suffix].lower()), name
    assert len(list(tmp_path.iterdir())) == 2 * len(suffixes)


@pytest.mark.parametrize("what", WRITERS)
@pytest.mark.parametrize("name", ["output", "output.tiff", "output.", ".png", "a.png.zip"])
def test_a_writer_refuses_names_that_say_no_format(tmp_path: Path, what: str, name: str) -> None:
    write, suffixes = WRITERS[what]
    with pytest.raises(FormatError, match=r"name: found (no )?suffix.*whose format the suffix says: " + suffixes[0]):
        write(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_was_written_is_read_back_whatever_the_case(tmp_path: Path) -> None:
    for name in ("a.NPY", "a.Pfm", "a.PNG"):
        write_disparity(tmp_path / name, MAP)
        np.testing.assert_allclose(read_disparity(tmp_path / name), MAP, atol=1 / 512)
    write_cloud(tmp_path / "a.BIN", POINTS)
    np.testing.assert_array_equal(read_points(tmp_path / "a.BIN"), POINTS)
    write_cloud(tmp_path / "b.Npz", POINTS)
    np.testing.assert_array_equal(np.load(tmp_path / "b.Npz")["points"], POINTS)
    write_image(tmp_path / "b.PNG", PICTURE)
    np.testing.assert_array_equal(read_image(tmp_path / "b.PNG"), PICTURE)


def test_a_pfm_is_middleburys(tmp_path: Path) -> None:
    path = tmp_path / "map.pfm"
    write_disparity(path, MAP)
    data = path.read_bytes()
    assert data.startswith(b"Pf\n40 30\n-1.0\n") and len(data) == 14 + 4 * MAP.size
    # From the bottom up, and infinity where nothing is known.
    assert np.frombuffer(data[-160:], "<f4")[0] == np.inf and np.frombuffer(data[14:174], "<f4")[-1] == MAP[-1, -1]
    assert np.isposinf(read_pfm(path)[0, 0])
    np.testing.assert_array_equal(read_disparity(path), MAP)
    path.write_bytes(b"Pf\n2 1\n1\n" + np.array([np.inf, 3.5], ">f4").tobytes())
    np.testing.assert_array_equal(read_disparity(path), [[0, 3.5]])
    for wrong in (np.nan, -1.0, -np.inf):
        path.write_bytes(b"Pf\n2 1\n-1\n" + np.array([1, wrong], "<f4").tobytes())
        with pytest.raises(FormatError, match=r"map\.pfm: row 0, column 1"):
            read_disparity(path)


def test_folders_of_outputs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for name in ("file", "file/below"):
        with pytest.raises(FormatError, match=r"file: folder: found a file, expected a folder for clouds, or nothing"):
            require_output_folder(tmp_path / name, "clouds")
        with pytest.raises(FormatError, match="file: folder: found a file"):
            write_clouds(tmp_path, tmp_path, tmp_path / name, ["000000"])
    assert require_output_folder(tmp_path / "new" / "folder", "clouds") == tmp_path / "new" / "folder"
    assert (tmp_path / "file").read_text() == "mine" and not (tmp_path / "new").exists()


PAIR = ("left=none.png", "right=none.png")
RESULTS = ("labels=none", "results=none")


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        ("predict_disparity.py", ("model=none.pt", *PAIR, "output=pair"), "pair: name: found no suffix"),
        ("predict_disparity.py", ("model=sgm", *PAIR, "output=p.tiff"), "p.tiff: name: found suffix .tiff"),
        ("predict_disparity.py", ("model=sgm", *PAIR, "output=p.jpg"), "expected a disparity map, whose format"),
        ("predict_disparity.py", ("model=none.pt", *PAIR, "output=d.npy"), "d.npy: file: found a folder"),
        ("view.py", ("data=none", "frame=000000", "output=v"), "v: name: found no suffix, expected a figure"),
        ("evaluate.py", (*RESULTS, "output=r.json", "figure=f"), "f: name: found no suffix, expected a figure"),
        ("evaluate.py", (*RESULTS, "output=r"), "r: name: found no suffix, expected a table"),
        ("evaluate.py", (*RESULTS, "output=r.json", "csv=t.xls"), "t.xls: name: found suffix .xls"),
        ("evaluate.py", (*RESULTS, "output=r.json", "outcomes=t.json"), "t.json: name: found suffix .json"),
        ("compare.py", ("labels=none", "a=none", "b=none", "output=r.csv"), "r.csv: name: found suffix .csv"),
        (
            "evaluate_disparity.py",
            ("disparity=none", "calib=none", "velodyne=none", "output=r"),
            "r: name: found no suffix, expected a table",
        ),
        (
            "detect.py",
            ("models=none", "data=none", "output=file"),
            "file: folder: found a file, expected a folder for detections",
        ),
        ("make_town.py", ("output=file",), "file: folder: found a file, expected a folder for a town"),
        ("update_stream.py", ("output=file",), "file: folder: found a file, expected a folder for the report"),
        ("illustrations.py", ("output=file/below",), "file: folder: found a file, expected a folder for artifacts"),
        (
            "make_clouds.py",
            ("disparity=maps", "calib=none", "output=file"),
            "found a file, expected a folder for clouds",
        ),
    ],
)
def test_a_command_refuses_before_it_looks_at_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, arguments: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "d.npy").mkdir()
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "000000.npy").touch()
    before = sorted(tmp_path.rglob("*"))
    printed, errors = (tmp_path.with_name(f"{tmp_path.name}-{name}") for name in ("printed", "errors"))
    process = start_script(script, [f"hydra.run.dir={tmp_path}", *arguments], printed, errors)
    process.join(60)
    assert process.exitcode == 2
    assert expected in errors.read_text() and len(errors.read_text().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
