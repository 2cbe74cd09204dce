"""Commands as vertices: a real detector behind the runner, failures, kills, what is made again."""

import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.case_study.clouds import PointCloudGenerator
from pseudolidar.case_study.detectors import CommandDetector
from pseudolidar.case_study.disparity import DisparityFolder, Oracle
from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset, read_disparity
from pseudolidar.systems import ArtifactStore, Model, Stage, System, Vertex, make_stages
from tests.conftest import settings_of
from tests.systems.avenue import DETECTOR, data, data_stage, failure, make, names, write_maps

__all__ = ["data"]

TRAIN = f"{sys.executable} detector.py train {{data}} {{train_split}} {{clouds}} - {{output}} {{class_name}} {{seed}}"
PREDICT = f"{sys.executable} detector.py predict {{data}} {{val_split}} {{clouds}} {{model}} {{output}} {{class_name}}"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the detector's program, whose name a shell would not leave alone."""
    folder = tmp_path / "a detector; touch $(hacked) 'of mine"
    folder.mkdir()
    (folder / "detector.py").write_text(DETECTOR)
    return folder


def detector(programs: Path, predict: str = PREDICT, train: str | None = TRAIN, **others: object) -> CommandDetector:
    given = {"train": train, "predict": predict, "files": ["*.py"], "directory": str(programs), **others}
    made: CommandDetector = settings_of("detector/command", **given)
    return made


def system(data: ObjectDataset, u: Model, car: CommandDetector) -> System:
    cloud = Vertex("cloud", PointCloudGenerator(1.0), ("u",))
    return System(data_stage(data), [Vertex("u", u), cloud, Vertex("car", car, car.parents)])


def test_a_detector_of_somebody_else_is_trained_and_scored(data: ObjectDataset, programs: Path, tmp_path: Path) -> None:
    store, exact = ArtifactStore(tmp_path / "store"), write_maps(data, tmp_path / "exact")
    before = system(data, DisparityFolder(exact), detector(programs))
    assert names(make(store, before)) == [
        "data", "predict-u", "test-u", "predict-cloud", "train-car", "predict-car", "test-car",
    ]  # fmt: skip
    assert before.test_loss(store, "u", 0).value() < 1e-3
    assert before.test_loss(store, "car", 0).value() < 10, "with exact depth nearly every car is found"
    assert make(store, before).made == []
    shifted = write_maps(data, tmp_path / "shifted", 1.05)
    after = before.replaced(Vertex("u", DisparityFolder(shifted)))
    assert names(make(store, after))[-1] == "test-car"
    assert after.test_loss(store, "car", 0).value() > before.test_loss(store, "car", 0).value() + 20
    assert "train on 3 frames" in (store.folder(before.stages(0)["car", "train"]) / "command.log").read_text()
    assert not list(tmp_path.rglob("hacked*"))


def test_what_determines_the_result_makes_it_anew(data: ObjectDataset, programs: Path, tmp_path: Path) -> None:
    store, maps = ArtifactStore(tmp_path / "store"), DisparityFolder(write_maps(data, tmp_path / "maps"))
    make(store, system(data, maps, detector(programs)))
    assert names(make(store, system(data, maps, detector(programs)), seed=1)) == [
        "train-car",
        "predict-car",
        "test-car",
    ]
    template = PREDICT.replace("detector.py", "./detector.py")
    assert names(make(store, system(data, maps, detector(programs, template)))) == ["predict-car", "test-car"]
    (programs / "detector.py").write_text(DETECTOR + "# changed\n")
    assert names(make(store, system(data, maps, detector(programs)))) == ["train-car", "predict-car", "test-car"]
    moved = programs.rename(tmp_path / "moved")
    assert make(store, system(data, maps, detector(moved))).made == []
    # Changed behind the back of a study that has started.
    late = detector(moved, PREDICT + " --late")
    stages = list(system(data, maps, late).stages(0).values())
    assert all(stage.fingerprint for stage in stages)
    (moved / "detector.py").write_text(DETECTOR)
    assert "detector.py: file: found another content" in failure(make_stages(store, stages))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('one'); sys.exit('no such weights')", "exit status 1 of .*its last line: no such weights"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "exit status 139 of "),
        ("", r"output/000003.txt: file: found nothing there \(4 of 4 frames have no result file\)"),
        ("open(f'{sys.argv[6]}/000003.txt', 'w')", r"output/000004.txt: file: found nothing there \(3 of 4 frames"),
        (
            "[open(f'{sys.argv[6]}/00000{i}.txt', 'w').write('Car 1 2') for i in range(7)]",
            "000003.txt: line 1: found 3 fields, expected 16",
        ),
    ],
)
def test_a_failing_command_says_why(
    data: ObjectDataset, programs: Path, tmp_path: Path, code: str, message: str
) -> None:
    (programs / "detector.py").write_text(f"import sys\n{code}\n")
    store, maps = ArtifactStore(tmp_path / "store"), DisparityFolder(write_maps(data, tmp_path / "maps"))
    template = PREDICT.replace("{model}", "-")
    outcome = make(store, system(data, maps, detector(programs, template, train=None)))
    assert [stage.name for stage in outcome.skipped] == ["test-car"]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(failure(outcome))


def test_a_missing_program_and_a_training_that_leaves_nothing(
    data: ObjectDataset, programs: Path, tmp_path: Path
) -> None:
    store, maps = ArtifactStore(tmp_path / "store"), DisparityFolder(write_maps(data, tmp_path / "maps"))
    for train, message in (
        ("./none {output}", "exit status 127 of ./none"),
        ("true {output}", "output: folder: found nothing in it"),
    ):
        assert message in failure(make(store, system(data, maps, detector(programs, train=train))))


@pytest.mark.parametrize(
    ("train", "predict", "message"),
    [
        (TRAIN, "x {clouds} {model} {out}", "predict: found {out}, expected one of {data}"),
        (TRAIN, "x {clouds} {model}", "predict: found no {output}"),
        (TRAIN, "x {clouds} {output}", "predict: found no {model}"),
        (None, "x {clouds} {model} {output}", "predict: found {model}, expected"),
        (None, "x {clouds} {output} {seed}", "predict: found {seed}, expected"),
        ("x {output} {}", PREDICT, "train: found {}, expected"),
        (None, "x {clouds} {output.name}", "predict: found {output.name}"),
        (None, "x {clouds} {output!r}", "predict: found {output!r}"),
        (None, "x {clouds} {output", "expected a command line"),
        (None, "x '{clouds} {output}", "No closing quotation"),
        (None, " ", "predict: found nothing"),
        (None, "x {output}", "found neither {clouds} nor {disparity}"),
    ],
)
def test_templates_are_checked_at_once(programs: Path, train: str | None, predict: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        detector(programs, predict, train)
    assert message in str(caught.value)


def test_braces_and_quotes_of_a_template_stay(data: ObjectDataset, programs: Path, tmp_path: Path) -> None:
    code = "import sys\nopen(f'{sys.argv[1]}/model', 'w').write('|'.join(sys.argv[2:]))"
    (programs / "detector.py").write_text(code)
    train = f"{sys.executable} detector.py {{output}} 'two words' {{{{literal}}}} $HOME --class={{class_name}}"
    store, maps = ArtifactStore(tmp_path / "store"), DisparityFolder(write_maps(data, tmp_path / "maps"))
    made = system(data, maps, detector(programs, train=train))
    make(store, made)
    written = (store.folder(made.stages(0)["car", "train"]) / "output" / "model").read_text()
    assert written == "two words|{literal}|$HOME|--class=Car"


def test_files_that_are_not_there(programs: Path) -> None:
    with pytest.raises(FormatError, match=r"weights.*: file: found nothing there"):
        detector(programs, "x {clouds} {output}", None, files=["weights/*.pt"]).settings("predict")
    with pytest.raises(FormatError, match="nowhere: folder: found nothing there"):
        detector(programs / "nowhere", "x {clouds} {output}", None)


SLOW = """
import os, time
from pathlib import Path
if not Path("slow").exists():
    Path("slow").write_text(str(os.getpid()))
    (Path(output) / f"{ids[0]}.txt").write_text("")
    (Path(output) / "left.txt").write_text("half")
    time.sleep(60)
print("goes on from", sorted(path.name for path in Path(output).iterdir()))
"""


@pytest.mark.parametrize("resumes", [False, True])
def test_a_killed_study_leaves_no_command_behind_and_goes_on(
    data: ObjectDataset, programs: Path, tmp_path: Path, resumes: bool
) -> None:
    maps = DisparityFolder(write_maps(data, tmp_path / "maps"))
    undisturbed, store = ArtifactStore(tmp_path / "undisturbed"), ArtifactStore(tmp_path / "store")
    head, tail = DETECTOR.split("h, w, l = ", 1)
    (programs / "detector.py").write_text(f"{head}{SLOW}h, w, l = {tail}")
    made = system(data, maps, detector(programs, resumes=resumes))
    stages = list(made.stages(0).values())
    (programs / "slow").write_text("not now")
    assert not make_stages(undisturbed, stages).failed
    (programs / "slow").unlink()
    make_stages(store, stages[:-2])
    study = multiprocessing.get_context("fork").Process(target=make_stages, args=(store, stages))
    study.start()
    wait_until(lambda: (programs / "slow").exists() and (programs / "slow").read_text() != "")
    command = int((programs / "slow").read_text())
    study.kill()
    study.join()
    wait_until(lambda: not is_running(command))
    assert not store.is_finished(stages[-2])
    assert names(make_stages(store, stages)) == ["predict-car", "test-car"]
    for frame_id in data.frame_ids:
        results = [(one.folder(stages[-2]) / f"{frame_id}.txt").read_bytes() for one in (store, undisturbed)]
        assert results[0] == results[1] and results[0]
    log = (store.folder(stages[-2]) / "command.log").read_text()
    assert ("goes on from ['000003.txt', 'left.txt']" if resumes else "goes on from []") in log


def wait_until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


HALVED = """
import sys
import numpy as np
from pathlib import Path
source, output, crop = sys.argv[1:]
for path in Path(source).glob("*.npy"):
    np.save(Path(output) / path.name, np.load(path)[: int(crop)] / 2)
"""


def test_a_disparity_model_of_somebody_else(data: ObjectDataset, tmp_path: Path) -> None:
    source, store = write_maps(data, tmp_path / "maps"), ArtifactStore(tmp_path / "store")
    (tmp_path / "halved.py").write_text(HALVED)

    def stages(crop: int) -> tuple[System, list[Stage]]:
        predict = f"{sys.executable} halved.py {source} {{output}} {crop}"
        model = settings_of("stereo/command", predict=predict, files=["halved.py"], directory=str(tmp_path))
        made = System(data_stage(data), [Vertex("u", model)])
        return made, list(made.stages(0).values())

    made, wanted = stages(1000)
    assert not make_stages(store, wanted).failed
    predicted = read_disparity(store.folder(made.stages(0)["u", "predict"]) / "000004.npy")
    exact = data.frame("000004").disparity()
    np.testing.assert_array_equal(predicted, exact / 2)
    errors = [frame.disparity()[frame.disparity() > 0] / 2 for frame in data]
    assert made.test_loss(store, "u", 0).value() == pytest.approx(np.concatenate(errors).mean(), rel=1e-5)
    assert "000000.npy: size: found 416 x 100 px, expected 416 x 128 px" in failure(make_stages(store, stages(100)[1]))
    (source / "000005.npy").unlink()
    made, wanted = stages(999)
    message = r"000005.npy: file: found nothing there (1 of 7 frames have no map)"
    assert message in failure(make_stages(store, wanted))


def test_a_command_may_look_at_disparity_and_at_the_oracle_s(data: ObjectDataset, tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path\n"
    script += "print(len(list(Path(sys.argv[1]).glob('*.png'))), 'maps'); sys.exit(1)"
    (tmp_path / "look.py").write_text(script)
    car = detector(tmp_path, f"{sys.executable} look.py {{disparity}} {{output}}", None, files=[])
    assert car.parents == ("u",)
    made = System(data_stage(data), [Vertex("u", Oracle()), Vertex("car", car, car.parents)])
    assert "its last line: 7 maps" in failure(make(ArtifactStore(tmp_path / "store"), made))
