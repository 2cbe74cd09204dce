"""scripts/detect.py: pairs in, result files and pictures out; its mistakes in one line each."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.cloud import write_clouds
from pseudolidar.detectors import detect as detect_from_files
from pseudolidar.detectors import load_detector
from pseudolidar.detectors.boxes2d import read_detections_file
from pseudolidar.kitti import ObjectDataset, read_image, read_objects, write_image
from pseudolidar.pipeline import Models
from pseudolidar.stereo import PSMNet, SemiGlobalMatching, predict_disparities, save_psmnet
from pseudolidar.training import load_checkpoint, save_checkpoint
from tests.kitti.raw_drives import write_raw_drive
from tests.pipeline.conftest import MAX_DISPARITY, Detect, bytes_of
from tests.stereo.conftest import seen_from_right, texture


def pair_of(street: ObjectDataset, frame_id: str) -> dict[str, Path]:
    frame = street.frame(frame_id)
    return {"left": frame.path("image_2"), "right": frame.path("image_3"), "calib": frame.path("calib")}


def test_a_data_set_gives_what_the_stages_give_one_after_the_other(
    street: ObjectDataset, models: Path, boxes: Path, tmp_path: Path, detect: Detect
) -> None:
    settings = {"models": models, "data": street.root, "split": "train", "boxes": boxes, "max_disparity": MAX_DISPARITY}
    code, said, errors = detect(**settings, output=tmp_path / "out")
    assert code == 0, errors
    assert "frames: 2, finished before: 0; found at any score: 2 Car" in said
    assert f"semi-global matching, since {models} has no disparity.pt" in said
    predict_disparities(SemiGlobalMatching(MAX_DISPARITY), street, tmp_path / "disparity", "disparity")
    write_clouds(tmp_path / "disparity", street.folder / "calib", tmp_path / "clouds", street.frame_ids)
    detector = load_detector(models / "frustum_car.pt")
    detect_from_files(detector, street, tmp_path / "clouds", tmp_path / "results", read_detections_file(boxes))
    for frame in street:
        result, picture = (tmp_path / "out" / name / frame.frame_id for name in ("results", "pictures"))
        expected = tmp_path / "results" / f"{frame.frame_id}.txt"
        assert result.with_suffix(".txt").read_text() == expected.read_text()
        found = read_objects(expected, scored=True)
        assert np.abs(found.box3d[0, :3] - frame.objects().box3d[0, :3]).max() < 2.0
        assert read_image(picture.with_suffix(".png")).shape[1] == 1920
    assert len(bytes_of(tmp_path / "out")) == 6


def test_finished_frames_are_left_alone_and_the_rest_comes_out_the_same(
    street: ObjectDataset, models: Path, boxes: Path, tmp_path: Path, detect: Detect
) -> None:
    settings = {"models": models, "data": street.root, "boxes": boxes, "output": tmp_path, "max_disparity": 16}
    assert detect(**settings)[0] == 0
    first = bytes_of(tmp_path)
    (tmp_path / "results" / "000001.txt").unlink()
    untouched = (tmp_path / "pictures" / "000000.png").stat().st_mtime_ns
    code, said, _ = detect(**settings)
    assert code == 0 and "frames: 1, finished before: 1" in said
    assert bytes_of(tmp_path) == first
    assert (tmp_path / "pictures" / "000000.png").stat().st_mtime_ns == untouched
    (tmp_path / "pictures" / "000001.png").unlink()
    assert detect(**settings)[0] == 0
    assert bytes_of(tmp_path) == first
    code, _, errors = detect(**settings, max_height=2.5)
    assert code == 2 and "found max_height=1.0, expected max_height=2.5, as asked for now; overwrite=true" in errors
    code, _, errors = detect(**settings | {"max_disparity": 32})
    assert code == 2 and "record: found disparity.max_disparity=16, expected disparity.max_disparity=32" in errors
    assert bytes_of(tmp_path) == first


def test_results_without_pictures(
    street: ObjectDataset, models: Path, boxes: Path, tmp_path: Path, detect: Detect
) -> None:
    settings = {"models": models, "data": street.root, "boxes": boxes, "max_disparity": 16}
    assert detect(**settings, output=tmp_path / "with")[0] == 0
    code, said, _ = detect(**settings, output=tmp_path / "without", pictures="false")
    assert code == 0 and said.rstrip().endswith(f"results: {tmp_path / 'without' / 'results'}")
    assert not (tmp_path / "without" / "pictures").exists()
    assert bytes_of(tmp_path / "without" / "results") == bytes_of(tmp_path / "with" / "results")
    code, said, _ = detect(**settings, output=tmp_path / "without", pictures="false", **{"drawing.max_depth": 5})
    assert code == 0 and "finished before: 2" in said, "what is not drawn has no limits"
    code, _, errors = detect(**settings, output=tmp_path / "without")
    assert code == 2 and "record: found drawing=None, expected" in errors


def test_pairs_of_one_name_from_two_folders_do_not_share_results(
    street: ObjectDataset, models: Path, boxes: Path, tmp_path: Path, detect: Detect
) -> None:
    pair = pair_of(street, "000000")
    settings = pair | {"models": models, "boxes": boxes, "max_disparity": 16, "output": tmp_path / "out"}
    assert detect(**settings)[0] == 0
    shutil.copy(pair["left"], tmp_path / "000000.png")
    code, _, errors = detect(**settings | {"left": tmp_path / "000000.png"})
    assert code == 0, "the same files elsewhere"
    write_image(tmp_path / "000000.png", 255 - read_image(pair["left"]))
    code, _, errors = detect(**settings | {"left": tmp_path / "000000.png"})
    assert code == 2 and "record: found input files of 000000=" in errors


def test_one_pair_with_psmnet_and_without_a_lidar(
    street: ObjectDataset, models: Path, boxes: Path, tmp_path: Path, detect: Detect, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(models, tmp_path / "models")
    network = PSMNet(width=8, max_disparity=32, pool_sizes=(8, 4), blocks=(1, 1, 1, 1))
    save_psmnet(tmp_path / "models" / "disparity.pt", network.eval())
    pair = pair_of(street, "000001")
    lines = pair["calib"].read_text().splitlines()
    (tmp_path / "camera.txt").write_text("\n".join(line for line in lines if line[:2] in ("P2", "P3")))
    left = read_image(pair["left"])
    write_image(tmp_path / "000001.jpg", left)
    monkeypatch.chdir(tmp_path)
    given = {"left": "000001.jpg", "right": pair["right"], "calib": "camera.txt"}
    done = detect(models="models", boxes=boxes, **given)
    assert done.status == 0, done.err
    assert "semi-global matching" not in done.out
    assert sorted(path.name for path in (tmp_path / "detections").iterdir()) == [
        ".record.lock",
        "pictures",
        "record.json",
        "results",
    ]
    made_with = json.loads((tmp_path / "detections" / "record.json").read_text())
    assert made_with["settings"]["disparity"]["model"] == "disparity.pt"
    assert (tmp_path / "detections" / "results" / "000001.txt").is_file()


def test_a_raw_drive(street: ObjectDataset, models: Path, boxes: Path, tmp_path: Path, detect: Detect) -> None:
    drive = write_raw_drive([street[0], street[1]], tmp_path / "raw", "2011_09_26", "0001")
    (tmp_path / "boxes.txt").write_text(boxes.read_text().splitlines()[0].replace("000000.png", "0000000000.png"))
    settings = {"models": models, "boxes": tmp_path / "boxes.txt", "max_disparity": 16, "output": tmp_path / "out"}
    code, said, errors = detect(**settings, drive=drive.folder)
    assert code == 0, errors
    assert "found at any score: 1 Car" in said and "skipped: 1 frames without 2D boxes in boxes.txt" in said
    found = read_objects(tmp_path / "out" / "results" / "0000000000.txt", scored=True)
    assert np.abs(found.box3d[0, :3] - street[0].objects().box3d[0, :3]).max() < 2.0
    assert (tmp_path / "out" / "results" / "0000000001.txt").read_text() == ""
    code, _, errors = detect(**settings, drive=tmp_path / "raw")
    assert code == 2 and "expected DATE/DATE_drive_NUMBER_sync" in errors


def test_what_is_below_the_threshold_is_in_the_result_and_not_in_the_picture(
    street: ObjectDataset, models: Path, boxes: Path, tmp_path: Path, detect: Detect
) -> None:
    settings = {"models": models, **pair_of(street, "000000"), "boxes": boxes, "max_disparity": 16}
    everything = {"drawing.frustum_score": -50, "drawing.box2d_score": 0.5}
    weak, weak_box = everything | {"drawing.frustum_score": 50}, everything | {"drawing.box2d_score": 0.95}
    results, pictures = set(), []
    for name, drawing in (("all", everything), ("weak", weak), ("weak_box", weak_box)):
        assert detect(**settings, output=tmp_path / name, **drawing)[0] == 0
        results.add((tmp_path / name / "results" / "000000.txt").read_text())
        pictures.append(read_image(tmp_path / name / "pictures" / "000000.png"))
    assert len(results) == 1 and "Car" in results.pop()
    assert len({picture.shape for picture in pictures}) == 1, "sheets of one camera have one size"
    amber = np.array([0xFF, 0xB0, 0x00])
    drawn, *bare = [(np.abs(picture.astype(int) - amber).max(axis=2) < 12).sum() for picture in pictures]
    assert drawn > max(bare) + 300 and bare[1] < bare[0], "a weak 2D box isn't drawn either"


def test_mistakes_end_in_one_line(
    street: ObjectDataset, models: Path, boxes: Path, tmp_path: Path, detect: Detect
) -> None:
    pair = pair_of(street, "000000")
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "small.png", np.zeros((40, 60, 3), np.uint8))
    lines = pair["calib"].read_text().splitlines(keepends=True)
    (tmp_path / "no_P3.txt").write_text("".join(line for line in lines if not line.startswith("P3")))
    (tmp_path / "large.txt").write_text("".join(lines).replace("3.600000000000e+01", "6.095000000000e+02"))
    without_right = tmp_path / "data"
    shutil.copytree(street.root, without_right)
    (without_right / "training" / "image_3" / "000001.png").unlink()
    common = {"models": models, "boxes": boxes, "max_disparity": 16, "output": tmp_path / "out"}
    for settings, expected in [
        (common, "found none of them; expected left=FILE right=FILE calib=FILE, or data=DIR, or drive=DIR"),
        (common | {"left": pair["left"], "calib": pair["calib"]}, "found left, calib; expected left=FILE right=FILE"),
        (common | pair | {"data": street.root}, "found left, right, calib, data; expected left=FILE right=FILE"),
        (common | pair | {"right": "nowhere.png"}, "nowhere.png: file: found nothing there, expected the right image"),
        (common | pair | {"right": tmp_path / "small.png"}, "found 60 x 40 px, expected 72 x 40 px, the size of"),
        (common | pair | {"calib": tmp_path / "no_P3.txt"}, "no_P3.txt: matrix P3: found only P2"),
        (common | pair | {"calib": tmp_path / "large.txt"}, "expected one within 000000.png, 72 x 40 px"),
        (common | {"data": without_right}, "image_3/000001.png: file: found nothing there, expected the right image"),
        (common | pair | {"models": tmp_path / "empty"}, "detectors: found nothing, expected frustum_NAME.pt or"),
        (common | pair | {"models": tmp_path / "none"}, "none: folder: found nothing there, expected a folder of"),
        (
            common | pair | {"detectors": "pointrcnn"},
            "found frustum_car.pt, frustum_car.pt.metrics.csv, expected pointrcnn_NAME.pt",
        ),
        (common | pair | {"detectors": "yolo"}, "detectors: found 'yolo', expected frustum or pointrcnn or null"),
        (common | pair | {"boxes": "null"}, "expected boxes2d.pt among the models, or boxes=FILE_OR_FOLDER"),
        (common | pair | {"boxes": "no.txt"}, "no.txt: file: found nothing there, expected 2D detections"),
    ]:
        code, _, errors = detect(**settings)
        assert code == 2 and expected in errors, errors
        assert errors.count("error: ") == 1
    assert not list(tmp_path.glob("out/*/*")), "no result and no picture"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["car.pt"], "car.pt: name: found car.pt, expected one of disparity.pt, boxes2d.pt, frustum_NAME.pt"),
        (["pointrcnn_car.pt"], "name: found pointrcnn, expected frustum, which is what the file holds"),
        (["frustum_a.pt", "frustum_b.pt"], "class Car: found frustum_a.pt and frustum_b.pt, expected one detector a"),
        (["frustum_car.pt", "disparity.pt", "disparity.tar"], "found disparity.pt, disparity.tar, expected one of"),
        (["frustum_car.pt", "boxes2d.pt", "boxes2d.PTH"], "found boxes2d.PTH, boxes2d.pt, expected one of"),
    ],
)
def test_files_are_known_by_their_names(
    street: ObjectDataset, models: Path, tmp_path: Path, detect: Detect, names: list[str], expected: str
) -> None:
    for name in names:
        shutil.copy(models / "frustum_car.pt", tmp_path / name)
    code, _, errors = detect(models=tmp_path, **pair_of(street, "000000"), output=tmp_path / "out")
    assert code == 2 and expected in errors, errors


def test_interchanged_images_are_refused(street: ObjectDataset, tmp_path: Path, detect: Detect) -> None:
    left, right = tmp_path / "left.png", tmp_path / "right.png"
    wall = texture(np.random.default_rng(0), 160, 480)
    write_image(left, wall)
    write_image(right, seen_from_right(wall, 12.0))
    calib = street.frame(street.frame_ids[0]).path("calib")
    code, _, errors = detect(left=right, right=left, calib=calib, output=tmp_path / "out")
    assert code != 0
    assert errors.startswith(f"error: {left}: pair: found what is seen in both 12.0 px farther right")
    assert not (tmp_path / "out").exists()


def test_what_a_training_kept_beside_its_checkpoint_is_left_out(models: Path, tmp_path: Path) -> None:
    names = ("frustum_car.pt", "frustum_car.best.pt", "frustum_car.step-20.pt", "frustum_car.pt.partial")
    for name in names:
        shutil.copy(models / "frustum_car.pt", tmp_path / name)
    assert list(Models.from_folder(tmp_path).detectors) == ["frustum_car.pt"]
    # Alone it may be what somebody chose.
    (tmp_path / "frustum_car.pt").unlink()
    (tmp_path / "frustum_car.step-20.pt").unlink()
    assert list(Models.from_folder(tmp_path).detectors) == ["frustum_car.best.pt"]


def test_models_in_safetensors_find_the_same(
    street: ObjectDataset, models: Path, boxes: Path, tmp_path: Path, detect: Detect
) -> None:
    network = PSMNet(width=8, max_disparity=32, pool_sizes=(8, 4), blocks=(1, 1, 1, 1)).eval()
    for suffix in (".pt", ".safetensors"):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        save_psmnet(folder / f"disparity{suffix}", network)
        save_checkpoint(folder / f"frustum_car{suffix}", load_checkpoint(models / "frustum_car.pt"))
        settings = {"models": folder, **pair_of(street, "000000"), "boxes": boxes, "output": folder / "out"}
        code, said, errors = detect(**settings)
        assert code == 0 and "semi-global matching" not in said, errors
    results = [(tmp_path / name / "out" / "results" / "000000.txt").read_bytes() for name in ("pt", "safetensors")]
    assert results[0] == results[1] != b""
    settings = {"models": tmp_path / "pt", **pair_of(street, "000000"), "boxes": boxes}
    code, _, errors = detect(**settings, output=tmp_path / "pt" / "out", precision="bfloat16")
    assert code == 2 and "found disparity.precision=None, expected disparity.precision=bfloat16" in errors, errors
    code, _, errors = detect(**settings, output=tmp_path / "half", precision="float16")
    assert code == 2 and "precision: found 'float16' on a processor" in errors


@pytest.mark.parametrize("workers", [1, 2])
def test_clouds_of_next_to_nothing_are_said_once(
    street: ObjectDataset, models: Path, boxes: Path, tmp_path: Path, detect: Detect, workers: int
) -> None:
    settings = {"models": models, "data": street.root, "boxes": boxes, "max_disparity": 16, "workers": workers}
    code, said, errors = detect(**settings, max_height=-30, output=tmp_path / "none")
    assert code == 0 and said.count("point clouds: in 2 of 2 frames under 5 %") == 1, said + errors
    if workers == 1:  # what a second start of two would say too
        code, said, _ = detect(**settings, output=tmp_path / "all")
        assert code == 0 and "point clouds" not in said


def test_labels_are_drawn_where_there_are_any(
    street: ObjectDataset, models: Path, boxes: Path, tmp_path: Path, detect: Detect
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(street.root, bare)
    shutil.rmtree(bare / "training" / "label_2")
    (bare / "ImageSets" / "train.txt").write_text("000000\n")
    (street.root / "ImageSets" / "one.txt").write_text("000000\n")
    pictures = []
    for name, root, split in (("labelled", street.root, "one"), ("bare", bare, "train")):
        settings = {"models": models, "data": root, "split": split, "boxes": boxes, "max_disparity": 16}
        assert detect(**settings, output=tmp_path / name)[0] == 0
        pictures.append(read_image(tmp_path / name / "pictures" / "000000.png").astype(int))
    # The car's texture holds any colour, this green among them, in both pictures.
    labelled, bare_green = ((np.abs(picture - [0x2F, 0xE0, 0xA0]).max(axis=2) < 12).sum() for picture in pictures)
    assert labelled > bare_green + 300
    assert bytes_of(tmp_path / "labelled" / "results") == bytes_of(tmp_path / "bare" / "results")
