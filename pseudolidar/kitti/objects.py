"""Labelled and detected objects as a struct of arrays, and the text files that hold them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError, read_lines, write_file

CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare")
"""The classes of KITTI's object benchmark."""

_CANONICAL = {name.lower(): name for name in CLASSES}

_FIELDS = (
    *("type", "truncated", "occluded", "alpha", "bbox_left", "bbox_top", "bbox_right", "bbox_bottom"),
    *("height", "width", "length", "x", "y", "z", "rotation_y", "score"),
)


@dataclass(frozen=True, eq=False)
class Objects:
    """N objects of one frame.

    Attributes:
        class_name: (N,) str, one of `CLASSES`, or a class of the user's own.
        truncation: float64 (N,), fraction of the object outside of the image, 0 to 1; -1 where not given.
        occlusion: int64 (N,), 0 visible, 1 partly, 2 largely occluded, 3 unknown; -1 where not given.
        alpha: float64 (N,), observation angle, rad; -10 where not given.
        box2d: float64 (N, 4), left, top, right, bottom in px of the left colour image.
        box3d: float64 (N, 7), x y z h w l ry in the rectified camera frame: the middle of the bottom face, height,
            width, length in m, rotation about the y axis in rad.
        score: float64 (N,) for detections, None for labels.
    """

    class_name: NDArray[np.str_]
    truncation: NDArray[np.float64]
    occlusion: NDArray[np.int64]
    alpha: NDArray[np.float64]
    box2d: NDArray[np.float64]
    box3d: NDArray[np.float64]
    score: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        count = len(self.class_name)
        for name, shape, dtype in (
            ("class_name", (count,), np.str_),
            ("truncation", (count,), np.float64),
            ("occlusion", (count,), np.int64),
            ("alpha", (count,), np.float64),
            ("box2d", (count, 4), np.float64),
            ("box3d", (count, 7), np.float64),
            ("score", (count,), np.float64),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            array: NDArray[Any] = np.asarray(value, dtype=dtype)
            if array.shape != shape:
                raise ValueError(f"{name}: found shape {array.shape}, expected {shape}")
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.class_name)

    def _columns(self) -> list[NDArray[Any] | None]:
        return [getattr(self, field.name) for field in fields(self)]

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.integer] | slice) -> "Objects":
        """Select objects by a mask, an index array or a slice."""
        picked: list[Any] = [None if column is None else column[index] for column in self._columns()]
        return Objects(*picked)

    @classmethod
    def empty(cls, scored: bool = False) -> "Objects":
        """No objects; with `scored`, no detections."""
        none = np.zeros(0)
        whole, names = np.zeros(0, np.int64), np.zeros(0, np.str_)
        return cls(names, none, whole, none, np.zeros((0, 4)), np.zeros((0, 7)), none if scored else None)

    @classmethod
    def concatenate(cls, parts: Sequence["Objects"]) -> "Objects":
        """Join several structs, of which all have scores or none has."""
        parts = [part for part in parts if len(part)] or list(parts[:1])
        if not parts:
            return cls.empty()
        if len({part.score is None for part in parts}) > 1:
            raise ValueError("parts: found some with scores, some without, expected labels alone or detections alone")
        joined: list[Any] = [
            None if columns[0] is None else np.concatenate(columns)
            for columns in zip(*(part._columns() for part in parts), strict=True)
        ]
        return cls(*joined)


def read_objects(path: str | Path, scored: bool) -> Objects:
    """Read a KITTI label file (15 fields a line) or, with `scored`, a result file (16 fields).

    Raises:
        FormatError: with the line and field, for a wrong number of fields, a number for a class, a word for a number,
            NaN or infinity, a 2D box whose right or bottom lies before its left or top, sizes that aren't positive.
    """
    path = Path(path)
    expected_fields = 16 if scored else 15
    names: list[str] = []
    rows: list[list[float]] = []
    for number, line in read_lines(path, "KITTI results" if scored else "KITTI labels"):
        words = line.split()
        if len(words) != expected_fields:
            what = "result" if scored else "label"
            raise FormatError(path, f"line {number}", f"{len(words)} fields", f"{expected_fields} fields ({what} line)")
        if not words[0][0].isalpha():
            expected = f"a class such as {', '.join(CLASSES)}"
            raise FormatError(path, f"line {number}, field 1 (type)", words[0], expected)
        row = []
        for column, word in enumerate(words[1:], start=1):
            try:
                row.append(float(word))
            except ValueError:
                row.append(np.nan)
            if not math.isfinite(row[-1]):
                place = f"line {number}, field {column + 1} ({_FIELDS[column]})"
                raise FormatError(path, place, word, "a finite number")
        if row[1] != int(row[1]) or abs(row[1]) > 1e6:
            raise FormatError(path, f"line {number}, field 3 (occluded)", words[2], "a whole number")
        if row[5] < row[3] or row[6] < row[4]:
            place = f"line {number}, fields 5 to 8 (bbox)"
            raise FormatError(path, place, " ".join(words[4:8]), "left <= right and top <= bottom")
        # Sizes are positive; -1 three times (in labels 0 three times, too) says that there is no 3D box.
        sizes = row[7:10]
        has_no_box = len(set(sizes)) == 1 and (sizes[0] < 0 or (sizes[0] == 0 and not scored))
        if min(sizes) <= 0 and not has_no_box:
            place = f"line {number}, fields 9 to 11 (height, width, length)"
            raise FormatError(path, place, " ".join(words[8:11]), "positive sizes in m, or -1 -1 -1 without a 3D box")
        # As in the devkit, case does not matter; own data may hold classes that KITTI lacks.
        names.append(_CANONICAL.get(words[0].lower(), words[0]))
        rows.append(row)
    if not names:
        return Objects.empty(scored)
    table = np.array(rows, dtype=np.float64)
    return Objects(
        class_name=np.array(names),
        truncation=table[:, 0],
        occlusion=table[:, 1].astype(np.int64),
        alpha=table[:, 2],
        box2d=table[:, 3:7],
        # The file has h w l x y z ry.
        box3d=np.concatenate([table[:, 10:13], table[:, 7:10], table[:, 13:14]], axis=1),
        score=table[:, 14] if scored else None,
    )


def write_objects(path: str | Path, objects: Objects) -> None:
    """Write labels (without scores: 15 fields, two decimals as KITTI's) or results (with scores: 16 fields, four).

    Raises:
        ValueError: NaN or infinity, or a class name that is not one word.
    """
    for name in ("truncation", "alpha", "box2d", "box3d", "score"):
        column = getattr(objects, name)
        if column is not None and not np.isfinite(column).all():
            raise ValueError(f"{path}: {name}: found NaN or infinity, expected finite numbers")
    digits = 2 if objects.score is None else 4
    lines = []
    for i in range(len(objects)):
        x, y, z, h, w, length, ry = objects.box3d[i]
        numbers = [objects.alpha[i], *objects.box2d[i], h, w, length, x, y, z, ry]
        if objects.score is not None:
            numbers.append(objects.score[i])
        class_name = str(objects.class_name[i])
        if class_name.split() != [class_name]:
            raise ValueError(f"{path}: class_name: found {class_name!r}, expected one word")
        truncation = f"{objects.truncation[i]:.{digits}f}"
        text = " ".join(f"{number:.{digits}f}" for number in numbers)
        lines.append(f"{class_name} {truncation} {objects.occlusion[i]} {text}\n")
    write_file(path, "".join(lines))


def box3d_corners(box3d: NDArray[np.floating]) -> NDArray[np.float64]:
    """Corners of boxes (N, 7) x y z h w l ry: float64 (N, 8, 3), same frame (rectified camera), m.

    Order as in KITTI's devkit: the bottom face first, seen from the box's own axes (x along the length, z along the
    width) at (+l/2, +w/2), (+l/2, -w/2), (-l/2, -w/2), (-l/2, +w/2), then the top face in the same order.
    """
    boxes = np.asarray(box3d, dtype=np.float64).reshape(-1, 7)
    height, width, length, ry = boxes[:, 3], boxes[:, 4], boxes[:, 5], boxes[:, 6]
    along = np.array([1, 1, -1, -1] * 2) / 2 * length[:, None]
    across = np.array([1, -1, -1, 1] * 2) / 2 * width[:, None]
    up = np.array([0, 0, 0, 0, -1, -1, -1, -1]) * height[:, None]
    cos, sin = np.cos(ry)[:, None], np.sin(ry)[:, None]
    corners = np.stack([cos * along + sin * across, up, -sin * along + cos * across], axis=2)
    return corners + boxes[:, None, :3]
