"""The case study on a folder and with models of one's own: what is made, by running it, and what is refused."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.case_study import (
    CaseStudy,
    CaseStudySettings,
    Checkpoint,
    CommandDetector,
    DetectionsFile,
    DiagnosisChoice,
    DisparityFolder,
    FolderData,
    InitialDetectors,
    MatchingDisparity,
    Reference,
    write_model_folders,
)
from pseudolidar.case_study.pictures import cloud_blocks
from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset, write_disparity, write_points
from pseudolidar.systems import ArtifactStore, RunResult, make_stages
from pseudolidar.training import save_checkpoint
from tests.case_study.bare_study import bare_study
from tests.conftest import settings_of
from tests.systems.avenue import data, names, write_maps

__all__ = ["data"]

# Finds nothing, in any frame.
NOTHING = 'for id in $(cat "$1"); do : > "$2/$id.txt"; done'


def detector(directory: Path, class_name: str = "Car", options: str = "", given: str = "{clouds}") -> CommandDetector:
    predict = f"sh nothing.sh {{val_split}} {{output}} {given} {{model}} {options}"
    made: CommandDetector = settings_of(
        "detector/command", train="cp nothing.sh {output}", predict=predict, class_name=class_name, files=["*.sh"],
        directory=str(directory),
    )  # fmt: skip
    return made


@pytest.fixture
def study_settings(data: ObjectDataset, tmp_path: Path) -> CaseStudySettings:
    """Exact maps and shifted ones, a car detector and a pedestrian detector, both commands."""
    (tmp_path / "nothing.sh").write_text(NOTHING)
    return bare_study(
        name="own",
        data=FolderData(data.root),
        u=DisparityFolder(write_maps(data, tmp_path / "u")),
        u_prime=DisparityFolder(write_maps(data, tmp_path / "u_prime", 1.05)),
        commands={"mine": detector(tmp_path), "his_own": detector(tmp_path, "Pedestrian")},
    )


def write_sweeps(root: Path) -> None:
    for calib in (root / "training" / "calib").iterdir():
        write_points(root / "training" / "velodyne" / f"{calib.stem}.bin", np.ones((5, 4), np.float32))


def run(settings: CaseStudySettings, tmp_path: Path) -> tuple[CaseStudy, RunResult]:
    study = CaseStudy(settings, ArtifactStore(tmp_path / "store"))
    outcome = make_stages(study.store, study.wanted())
    assert not outcome.failed
    return study, outcome


STEPS = ("train", "predict", "test")


def test_only_what_a_change_touches_is_made_again(study_settings: CaseStudySettings, tmp_path: Path) -> None:
    settings = study_settings
    detectors = [f"{step}-{name}" for step in STEPS for name in ("car-mine", "pedestrian-his_own")]
    _, first = run(settings, tmp_path)
    upstream = ["predict-u", "test-u", "predict-cloud"]
    assert sorted(names(first)) == sorted(["kitti-folder", *upstream * 2, "predict-u", "predict-cloud", *detectors * 3])
    # One setting of the pedestrian detector: that one alone, on u, u' and y.
    commands = {**settings.commands, "his_own": detector(tmp_path, "Pedestrian", "--width=2")}
    _, second = run(dataclasses.replace(settings, commands=commands), tmp_path)
    assert sorted(names(second)) == sorted(["predict-pedestrian-his_own", "test-pedestrian-his_own"] * 3)
    # u': all that stands behind it, and nothing beside it.
    maps = DisparityFolder(write_maps(ObjectDataset(settings.data.root), tmp_path / "newer", 1.1))  # type: ignore[union-attr]
    study, third = run(dataclasses.replace(settings, u_prime=maps), tmp_path)
    assert sorted(names(third)) == sorted([*upstream, *detectors])
    verdict = study.verdict
    assert verdict is not None
    assert verdict.own.word == "worse", "maps need no training seed"
    pedestrians = verdict.descendants["Pedestrian, his_own"]
    assert (pedestrians.word, pedestrians.reason) == (
        "undecided",
        "there is nothing in the test items to score it by",
    ), "a street of cars"


def test_a_detector_that_looks_at_disparity_has_its_pictures(study_settings: CaseStudySettings, tmp_path: Path) -> None:
    alone = {"mine": detector(tmp_path, given="{disparity}")}
    study, outcome = run(dataclasses.replace(study_settings, commands=alone), tmp_path)
    assert "predict-cloud" not in {
        parent.name for parent in study.stage("u", "car-mine", "predict", 0).parents.values()
    }
    assert names(outcome).count("predict-cloud") == 3
    assert len(cloud_blocks(study)) == 3


def test_lidar_is_no_disparity_for_a_detector_to_look_at(study_settings: CaseStudySettings, tmp_path: Path) -> None:
    root = Path(shutil.copytree(study_settings.data.root, tmp_path / "lidar"))  # type: ignore[union-attr]
    shutil.rmtree(root / "training" / "disparity")
    write_sweeps(root)
    commands = {"mine": detector(tmp_path, given="{disparity}"), "other": detector(tmp_path)}
    study = CaseStudy(
        dataclasses.replace(study_settings, data=FolderData(root), commands=commands), ArtifactStore(tmp_path / "store")
    )
    mine, other = study.places
    assert (study.sources_of(mine), study.sources_of(other)) == (("u", "u'"), ("u", "u'", "y"))


def refusal(settings: CaseStudySettings, tmp_path: Path) -> str:
    with pytest.raises(FormatError) as caught:
        CaseStudy(settings, ArtifactStore(tmp_path / "store"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("broken", "content", "message"),
    [
        ("disparity/000002.png", None, "exact disparity maps of 1 of 7 frames missing or broken (000002): "),
        ("disparity/00000[0-4].png", None, "exact disparity maps of 5 of 7 frames missing or broken (000000, 000001, "),
        ("disparity/000002.png", b"x", "000002.png: header: found no image"),
        ("label_2/000005.txt", None, "labels of 1 of 7 frames missing or broken (000005): "),
        ("label_2/000005.txt", b"Car 1 2", "000005.txt: line 1: found 3 fields"),
        ("calib/000006.txt", b"P2: 1", "calibrations of 1 of 7 frames missing or broken (000006): "),
        ("image_2/000001.png", b"", "left images of 1 of 7 frames missing or broken (000001): "),
    ],
)
def test_every_frame_is_looked_at_before_anything_runs(
    study_settings: CaseStudySettings, tmp_path: Path, broken: str, content: bytes | None, message: str
) -> None:
    root = Path(shutil.copytree(study_settings.data.root, tmp_path / "kitti"))  # type: ignore[union-attr]
    settings = dataclasses.replace(study_settings, data=FolderData(root))
    CaseStudy(settings, ArtifactStore(tmp_path / "store"))
    for path in (root / "training").glob(broken):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    assert message in refusal(settings, tmp_path)


def test_all_that_is_missing_is_one_error(study_settings: CaseStudySettings, tmp_path: Path) -> None:
    root = Path(shutil.copytree(study_settings.data.root, tmp_path / "kitti"))  # type: ignore[union-attr]
    shutil.rmtree(root / "training" / "disparity")
    settings = dataclasses.replace(study_settings, data=FolderData(root))
    assert "sweeps, as no frame has an exact disparity map, of 7 of 7 frames" in refusal(settings, tmp_path)
    write_sweeps(root)
    CaseStudy(settings, ArtifactStore(tmp_path / "store"))
    (root / "training" / "velodyne" / "000003.bin").write_bytes(b"1234567")
    (tmp_path / "u" / "000004.npy").unlink()
    write_disparity(tmp_path / "u_prime" / "000000.npy", np.ones((9, 9), np.float32))
    message = refusal(settings, tmp_path)
    for said in ("7 bytes", "maps of u of 1 of 7 frames missing or broken (000004)", "found 9 x 9 px, expected 416 x "):
        assert said in message
    assert "right images" not in message, "maps in folders need no pairs"
    matching = dataclasses.replace(settings, references={"SGM": Reference(MatchingDisparity(16), False)})
    assert "right images of 7 of 7 frames missing or broken (000000, " in refusal(matching, tmp_path)
    # A study without detectors reads no labels.
    shutil.rmtree(root / "training" / "label_2")
    assert "labels of 7 of 7" in refusal(settings, tmp_path)
    assert "labels" not in refusal(dataclasses.replace(settings, commands={}), tmp_path)


def test_boxes_of_other_frames(study_settings: CaseStudySettings, tmp_path: Path) -> None:
    path = tmp_path / "boxes.txt"
    path.write_text("image_2/009999.png 2 0.5 1 2 30 40\n")
    settings = dataclasses.replace(
        study_settings,
        boxes2d=DetectionsFile(path),
        frustum_pointnet={"Car": settings_of("detector/frustum_pointnet_v1", steps=5)},
    )
    assert "found boxes of 1 other frames" in refusal(settings, tmp_path)
    path.write_text("image_2/009999.png 2 0.5 1 2 30\n")
    assert "boxes.txt: line 1: found 6 fields" in refusal(settings, tmp_path)


def test_a_folder_is_known_by_what_is_in_it(
    study_settings: CaseStudySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(shutil.copytree(study_settings.data.root, tmp_path / "kitti"))  # type: ignore[union-attr]

    def fingerprint(path: str | Path) -> str:
        settings = dataclasses.replace(study_settings, data=FolderData(path))
        return CaseStudy(settings, ArtifactStore(tmp_path / "store")).data.fingerprint

    before = fingerprint(root)
    monkeypatch.chdir(tmp_path)
    assert fingerprint("kitti") == before, "the same folder by another name"
    for changed in ("label_2/000000.txt", "calib/000004.txt", "image_2/000001.png"):
        with (root / "training" / changed).open("ab") as file:
            file.write(b" ")
        assert fingerprint(root) != before, changed
        before = fingerprint(root)
    (root / "training" / "label_2" / "999999.txt").write_text("of no split")
    assert fingerprint(root) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"commands": ["F-PTNET"]}, "commands: found the name 'F-PTNET'"),
        ({"commands": ["p-rcnn"]}, "commands: found the name 'p-rcnn'"),
        ({"commands": ["my detector"]}, "commands: found the name 'my detector', expected letters"),
        ({"commands": ["mine", "Mine"]}, "commands: found 'Mine', expected another name"),
        ({"pointrcnn": {"Car": {"rpn_steps": 5}}}, "pointrcnn.Car: found {'rpn_steps': 5}, expected PointRCNNTraining"),
        ({"frustum_pointnet": {"Car": None}}, "frustum_pointnet.Car: found NoneType, expected FrustumTraining"),
        ({"u_prime": None}, "u_prime: found NoneType, expected a disparity model: stereo@study.u_prime=sgm"),
    ],
)
def test_what_cannot_be_a_study_is_refused(
    study_settings: CaseStudySettings, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    if isinstance(names_of := changes.get("commands"), list):
        changes = {"commands": {name: detector(tmp_path) for name in names_of}}
    with pytest.raises(ValueError) as caught:
        CaseStudy(dataclasses.replace(study_settings, **changes), ArtifactStore(tmp_path / "store"))  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_no_detectors_of_a_kind(study_settings: CaseStudySettings, tmp_path: Path) -> None:
    settings = dataclasses.replace(
        study_settings,
        pointrcnn={},
        frustum_pointnet={"Car": settings_of("detector/frustum_pointnet_v1", steps=5)},
        commands={},
    )
    assert [place.vertex for place in CaseStudy(settings, ArtifactStore(tmp_path)).places] == ["car-f-ptnet"]


def test_the_diagnosis_knows_the_names_of_detectors() -> None:
    with pytest.raises(ValueError, match="kinds: found 'pointrcnn', expected some of P-RCNN, F-PTNET"):
        DiagnosisChoice(("pointrcnn",), (0.5,), ())


def test_references_of_all_kinds(study_settings: CaseStudySettings, tmp_path: Path) -> None:
    root = Path(shutil.copytree(study_settings.data.root, tmp_path / "kitti"))  # type: ignore[union-attr]
    shutil.copytree(root / "training" / "image_2", root / "training" / "image_3")
    weights = Checkpoint("psmnet_town", None, None, "cpu")
    references = {
        "town": Reference(weights, False),
        "maps": Reference(DisparityFolder(tmp_path / "u"), False),
        "all": Reference(weights, True),
    }
    settings = dataclasses.replace(study_settings, data=FolderData(root), references=references)
    study = CaseStudy(settings, ArtifactStore(tmp_path / "store"))
    assert study.upstream == ("u", "u'", "town", "maps", "all") and study.sources == ("u", "u'", "all", "y")
    # Without detectors nobody asks for the training split.
    splits = {name: study.stage(name, "u", "predict", 0).task.settings().get("splits") for name in ("town", "all")}
    assert splits == {"town": ("val",), "all": None}
    (tmp_path / "u" / "000004.npy").unlink()
    with pytest.raises(FormatError, match="maps of maps of 1 of 7 frames missing"):
        CaseStudy(settings, ArtifactStore(tmp_path / "store"))
    for name in ("u", "y", "u-prime", "a/b", "", "..", "."):
        with pytest.raises(ValueError, match="references: found the name"):
            dataclasses.replace(settings, references={name: references["town"]})
    with pytest.raises(ValueError, match=r"references.SGM: found MatchingDisparity, expected Reference"):
        dataclasses.replace(settings, references={"SGM": MatchingDisparity(16)})  # type: ignore[dict-item]


def test_models_of_the_user_stay(study_settings: CaseStudySettings, tmp_path: Path) -> None:
    study = CaseStudy(study_settings, ArtifactStore(tmp_path / "store"))
    mine, stale = tmp_path / "models" / "mine" / "my.pt", tmp_path / "models" / "u-prime" / "boxes2d.pt"
    for path in (mine, stale):
        path.parent.mkdir(parents=True)
        path.touch()
    write_model_folders(study, tmp_path / "models")
    assert mine.exists() and not stale.exists()


def test_initial_detectors_and_widths_do_not_go_together(study_settings: CaseStudySettings) -> None:
    initial = InitialDetectors({}, {"Car": "frustum_car_town"})
    settings = dataclasses.replace(study_settings, diagnosis=DiagnosisChoice(("F-PTNET",), (0.5,), ()))
    assert dataclasses.replace(settings, initial_detectors=initial).initial_detectors.of("F-PTNET", "Car")
    assert initial.of("P-RCNN", "Car") is None
    wider = dataclasses.replace(settings, diagnosis=DiagnosisChoice(("F-PTNET",), (), (2.0,)))
    with pytest.raises(ValueError, match=r"diagnosis.widths: found \[2.0\] for F-PTNET, which starts from"):
        dataclasses.replace(wider, initial_detectors=initial)


def test_initial_detectors_of_another_kind_are_refused_before_anything_is_trained(
    study_settings: CaseStudySettings, tmp_path: Path
) -> None:
    path = tmp_path / "pointrcnn.pt"
    save_checkpoint(path, {"arguments": {"detector": "pointrcnn", "class_name": "Car"}, "state_dict": {}, "losses": []})
    initial = InitialDetectors({}, {"Car": str(path)})
    frustum = {"Car": settings_of("detector/frustum_pointnet_v2_slim")}
    settings = dataclasses.replace(study_settings, frustum_pointnet=frustum, initial_detectors=initial)
    with pytest.raises(FormatError, match="detector: found PointRCNN, expected Frustum PointNet"):
        CaseStudy(settings, ArtifactStore(tmp_path / "store"))
