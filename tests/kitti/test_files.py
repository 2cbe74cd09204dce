"""Images, disparity maps, point files: round trips, damage, and writing whole files or none."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pseudolidar.files import FormatError, replacing
from pseudolidar.kitti import read_disparity, read_image, read_points, write_disparity, write_image, write_points


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_image_round_trip(tmp_path: Path, picture: np.ndarray) -> None:
    write_image(tmp_path / "new" / "image.png", picture)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "image.png"), picture)
    # Red comes first.
    blue_green_red = cv2.imread(str(tmp_path / "new" / "image.png"))
    assert blue_green_red is not None and blue_green_red[0, 0, 2] == picture[0, 0, 0]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_png(tmp_path: Path, picture: np.ndarray, share: float) -> None:
    path = tmp_path / "image.png"
    write_image(path, picture)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FormatError, match=r"image\.png"):
        read_image(path)


def test_damaged_png(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "image.png"
    write_image(path, picture)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(FormatError, match="wrong checksum"):
        read_image(path)


def test_truncated_jpeg_and_bytes_after_the_end(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "image.jpg"
    write_image(path, picture)
    assert read_image(path).shape == picture.shape
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FormatError, match="truncated JPEG"):
        read_image(path)
    write_image(tmp_path / "image.png", picture)
    with (tmp_path / "image.png").open("ab") as file:
        file.write(b"\0" * 100)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), picture)


def test_no_image(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nothing there"):
        read_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(FormatError, match="do not decode"):
        read_image(tmp_path / "text.png")
    write_disparity(tmp_path / "deep.png", np.ones((4, 5)))
    with pytest.raises(FormatError, match="uint16 channels"):
        read_image(tmp_path / "deep.png")


disparities = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(0, 255, width=32))


@settings(deadline=None, max_examples=30)
@given(disparities)
def test_disparity_round_trip(tmp_path_factory: pytest.TempPathFactory, disparity: np.ndarray) -> None:
    folder = tmp_path_factory.mktemp("disparity")
    write_disparity(folder / "map.npy", disparity)
    write_disparity(folder / "map.png", disparity)
    np.testing.assert_array_equal(read_disparity(folder / "map.npy"), disparity)
    assert abs(read_disparity(folder / "map.png") - disparity).max() <= 0.5 / 256
    assert read_disparity(folder / "map.npy").dtype == read_disparity(folder / "map.png").dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_bad_disparity(tmp_path: Path, bad: float) -> None:
    disparity = np.ones((4, 5), np.float32)
    disparity[2, 3] = bad
    np.save(tmp_path / "map.npy", disparity)
    with pytest.raises(FormatError, match=r"map\.npy: row 2, column 3 \(1 such pixels\)"):
        read_disparity(tmp_path / "map.npy")
    for name in ("out.npy", "out.png"):
        with pytest.raises(ValueError, match="1 bad values"):
            write_disparity(tmp_path / name, disparity)
        assert not (tmp_path / name).exists()


def test_other_files_for_disparity(tmp_path: Path, picture: np.ndarray) -> None:
    write_image(tmp_path / "map.png", picture)
    with pytest.raises(FormatError, match="uint8"):
        read_disparity(tmp_path / "map.png")
    np.save(tmp_path / "map.npy", np.ones((2, 3, 4)))
    with pytest.raises(FormatError, match=r"\(2, 3, 4\)"):
        read_disparity(tmp_path / "map.npy")
    np.save(tmp_path / "map.npy", np.ones((20, 30), np.float32))
    (tmp_path / "map.npy").write_bytes((tmp_path / "map.npy").read_bytes()[:-7])
    with pytest.raises(FormatError, match=r"no readable \.npy"):
        read_disparity(tmp_path / "map.npy")


def test_points(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    path = tmp_path / "000000.bin"
    write_points(path, points)
    np.testing.assert_array_equal(read_points(path), points)
    write_points(path, points[:0])
    assert read_points(path).shape == (0, 4)
    path.write_bytes(points.tobytes()[:-3])
    with pytest.raises(FormatError, match="byte 784: found 13 bytes left over"):
        read_points(path)
    points[7, 1] = np.nan
    write_points(path, points)
    with pytest.raises(FormatError, match="point 7"):
        read_points(path)
    with pytest.raises(ValueError, match=r"\(50, 3\)"):
        write_points(path, points[:, :3])


def test_nothing_partial_stays_behind(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half a resu")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["result.txt"]
    with replacing(path) as temporary:
        temporary.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    other = tmp_path / "made_by_others"
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode
