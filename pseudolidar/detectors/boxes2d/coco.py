"""2D boxes as COCO has them, for detectors of other projects: labels as annotations, boxes as results, and back.

The format is https://cocodataset.org/#format-data and #format-results: a file of annotations lists images, categories
and labelled boxes; a file of results is a list of boxes whose images and categories are numbers of such a file. A box
is x y width height, px, from the same corner as KITTI's.
"""

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolidar.detectors.boxes2d.boxes import Boxes2d
from pseudolidar.files import FormatError, InputError, read_bytes, require_suffix, write_file
from pseudolidar.kitti import CLASSES, ObjectDataset

logger = logging.getLogger(__name__)

_KITTI = {name.lower(): name for name in CLASSES}
_RESULTS = "COCO results: a list of {image_id, category_id, bbox, score}"
_ANNOTATIONS = "COCO annotations: images with id and file_name, categories with id and name"


def write_coco_annotations(path: str | Path, dataset: ObjectDataset, class_names: Sequence[str]) -> None:
    """Write the labels of some classes to a .json file; categories are numbered as they are given, from 1.

    Images are called by their names within image_2. Their numbers are the frames' own, or else count from 1 (see
    `_image_ids`). Of each DontCare region there is one annotation a class with `iscrowd` 1: evaluations of COCO leave
    detections in it out, as KITTI's do.
    """
    require_suffix(path, (".json",), "COCO annotations")
    categories = _category_ids(class_names)
    ids = _image_ids(dataset.frame_ids)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for frame in dataset:
        height, width = frame.image_size()
        name = frame.path("image_2").name
        images.append({"id": ids[frame.frame_id], "file_name": name, "width": width, "height": height})
        objects = frame.objects()
        for class_name, box in zip(objects.class_name, objects.box2d, strict=True):
            is_crowd = class_name == "DontCare"
            bbox = _xywh(box)
            for category_id in categories.values() if is_crowd else filter(None, [categories.get(str(class_name))]):
                annotations.append({
                    # From 1: evaluations take 0 for "not matched".
                    "id": len(annotations) + 1, "image_id": ids[frame.frame_id], "category_id": category_id,
                    "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": int(is_crowd),
                })  # fmt: skip
    listed = [{"id": number, "name": name} for name, number in categories.items()]
    write_file(path, json.dumps({"images": images, "categories": listed, "annotations": annotations}))


def write_coco_results(
    path: str | Path, boxes: Mapping[str, Boxes2d], frame_ids: Sequence[str], class_names: Sequence[str]
) -> None:
    """Write boxes of frames to a .json file; numbers are those of `write_coco_annotations` for the same frames.

    Boxes of other frames and classes are left out; certain boxes get the score 1.
    """
    require_suffix(path, (".json",), "COCO results")
    categories = _category_ids(class_names)
    results = []
    for frame_id, image_id in _image_ids(frame_ids).items():
        own = boxes.get(frame_id, Boxes2d.empty()).of_classes(class_names)
        scores = np.ones(len(own)) if own.score is None else own.score
        for class_name, box, score in zip(own.class_name, own.box2d, scores, strict=True):
            results.append({
                "image_id": image_id, "category_id": categories[str(class_name)],
                "bbox": _xywh(box), "score": float(score),
            })  # fmt: skip
    write_file(path, json.dumps(results))


def read_coco_results(
    results: str | Path, annotations: str | Path, class_names: Mapping[str, str]
) -> dict[str, Boxes2d]:
    """Boxes by frame, for every image of `annotations`; a frame's name is its image's without folders and suffix.

    Args:
        results: as Detectron2, MMDetection, torchvision's references, Ultralytics and others write them.
        annotations: the file with the images and categories that the results are about; labels in it are not read.
        class_names: of categories by their names there, whatever their case: {"person": "Pedestrian"}. Classes of KITTI
            need no entry. Boxes of other categories are left out and counted in the log.

    Raises:
        FormatError: a file that is not such JSON, names the entry: a number that no image or category has, a box or a
            score that is none; or no category has a class.
        InputError: a class that is not one word.
    """
    for name in class_names.values():
        if name.split() != [name]:
            raise InputError(f"classes: found {name!r}, expected one word a class")
    own_names = _KITTI | {name.lower(): own for name, own in class_names.items()}
    frames, names = _images_and_categories(Path(annotations))
    if not any(name.lower() in own_names for name in names.values()):
        expected = "some that KITTI has, or whose classes are given: classes={person: Pedestrian}"
        raise FormatError(annotations, "categories", ", ".join(names.values()) or "none", expected)
    rows: dict[str, list[tuple[str, list[float], float]]] = {frame_id: [] for frame_id in frames.values()}
    skipped: Counter[str] = Counter()
    path = Path(results)
    entries = _read(path, _RESULTS)
    if not isinstance(entries, list):
        raise FormatError(path, "file", f"a {type(entries).__name__}", _RESULTS)
    for place, entry in enumerate(entries):
        image_id, category_id, bbox, score = _fields(
            path, f"[{place}]", entry, ("image_id", "category_id", "bbox", "score")
        )
        if image_id not in frames:
            raise FormatError(path, f"[{place}].image_id", image_id, f"the id of an image of {annotations}")
        if category_id not in names:
            raise FormatError(path, f"[{place}].category_id", category_id, f"the id of a category of {annotations}")
        if not (isinstance(bbox, list) and len(bbox) == 4 and all(map(_is_finite, bbox)) and min(bbox[2:]) >= 0):
            expected = "x, y, width, height in px, neither of the sizes negative"
            raise FormatError(path, f"[{place}].bbox", json.dumps(bbox), expected)
        if not (_is_finite(score) and 0 <= score <= 1):
            raise FormatError(path, f"[{place}].score", json.dumps(score), "a probability, 0 to 1")
        if (own := own_names.get(names[category_id].lower())) is None:
            skipped[names[category_id]] += 1
        else:
            left, top, width, height = bbox
            rows[frames[image_id]].append((own, [left, top, left + width, top + height], score))
    if skipped:
        counts = ", ".join(f"{name} ({count})" for name, count in skipped.most_common())
        logger.info("%s: boxes of categories without a class, left out: %s", path, counts)
    return {
        frame_id: Boxes2d(
            np.array([name for name, _, _ in found], dtype=np.str_),
            np.array([box for _, box, _ in found], dtype=np.float64).reshape(-1, 4),
            np.array([score for _, _, score in found], dtype=np.float64),
        )
        for frame_id, found in rows.items()
    }


def _image_ids(frame_ids: Sequence[str]) -> dict[str, int]:
    """12 for 000012, as Ultralytics counts images in its results; where names are no numbers, their places from 1."""
    if all(name.isascii() and name.isdigit() for name in frame_ids) and len({*map(int, frame_ids)}) == len(frame_ids):
        return {name: int(name) for name in frame_ids}
    return {name: place for place, name in enumerate(frame_ids, start=1)}


def _category_ids(class_names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(class_names, start=1)}


def _xywh(box: NDArray[np.float64]) -> list[float]:
    left, top, right, bottom = map(float, box)
    # As many decimals as in our result files.
    return [round(value, 4) for value in (left, top, right - left, bottom - top)]


def _images_and_categories(path: Path) -> tuple[dict[Any, str], dict[Any, str]]:
    """Frame ids of images and names of categories, by their numbers."""
    content = _read(path, _ANNOTATIONS)
    listed = _fields(path, "file", content, ("images", "categories"))
    found: list[dict[Any, str]] = []
    for kind, key, entries in zip(("images", "categories"), ("file_name", "name"), listed, strict=True):
        if not isinstance(entries, list):
            raise FormatError(path, kind, f"a {type(entries).__name__}", "a list")
        named = {}
        for place, entry in enumerate(entries):
            number, name = _fields(path, f"{kind}[{place}]", entry, ("id", key))
            if not isinstance(name, str) or number in named:
                expected = "a text" if not isinstance(name, str) else "each id once"
                raise FormatError(path, f"{kind}[{place}]", json.dumps(entry)[:80], expected)
            named[number] = name
        found.append(named)
    images, categories = found
    frames = {number: Path(name).stem for number, name in images.items()}
    if twice := [name for name, count in Counter(frames.values()).items() if count > 1]:
        raise FormatError(path, "images", f"several called {twice[0]}", "each name once, without folders and suffix")
    return frames, categories


def _read(path: Path, what: str) -> Any:
    try:
        return json.loads(read_bytes(path, what))
    except (ValueError, RecursionError) as error:
        raise FormatError(path, "file", f"no JSON ({error})", what) from error


def _fields(path: Path, place: str, entry: Any, names: Sequence[str]) -> list[Any]:
    """Values of an object's members; ids are numbers or texts."""
    for name in names:
        if not isinstance(entry, dict) or name not in entry:
            raise FormatError(path, place, json.dumps(entry)[:80], f"an object with {', '.join(names)}")
        if name.endswith("id") and not isinstance(entry[name], int | str):
            raise FormatError(path, f"{place}.{name}", json.dumps(entry[name])[:80], "a number or a text")
    return [entry[name] for name in names]


def _is_finite(value: Any) -> bool:
    # Whole numbers may have thousands of digits.
    return isinstance(value, int | float) and abs(value) < math.inf
