"""The four small systems: data in their files, what models are shown, verdicts and terms, a kill, the whole command."""

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import savemat
from sklearn.linear_model import LogisticRegression
from torchvision.datasets import SVHN

from pseudolidar.commands.mismatches import main
from pseudolidar.files import FormatError, InputError
from pseudolidar.illustrations.mismatches import (
    SETTINGS,
    DigitImages,
    Finished,
    WriteImages,
    mismatches,
    mismatches_data,
    run_mismatches,
)
from pseudolidar.illustrations.mismatches.images import read_images, scikit_digits
from pseudolidar.illustrations.mismatches.models import Nearest, Question, TrainingData, Upstream
from pseudolidar.illustrations.mismatches.networks import (
    Architecture,
    DigitNetwork,
    Schedule,
    drawn,
    fit,
    perceptron,
    train,
)
from pseudolidar.illustrations.mismatches.results import LEAST_SEEDS, corrected, error_terms, judged
from pseudolidar.illustrations.mismatches.series import DOWNSTREAM, Pair, Series
from pseudolidar.systems import ArtifactStore, Inputs, MeanLoss, Stage
from tests.forked import forking

RANDOM = np.random.default_rng(0)
TINY = replace(
    SETTINGS["digits"],
    upstream=Schedule(1, 256, 0.01, padding=1),
    ignored=((1, 7),),
    hidden=(4,),
    fractions=(0.5, 1.0),
    heads=((), (8,)),
    hardest=(0.4, 0.0),
)


def tiny_series() -> tuple[Series, ...]:
    return mismatches(Stage("images", WriteImages("digits", None)), TINY, "cpu")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    WriteImages("digits", None).run(folder, {})
    return folder


def write_mnist(root: Path, train: int = 6, test: int = 4) -> DigitImages:
    """Files in the format of MNIST (big-endian headers, then bytes); returns what is in them."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = RANDOM.integers(256, size=(train + test, 28, 28)).astype(np.uint8)
    digits = RANDOM.integers(10, size=train + test)
    for split, part in (("train", slice(train)), ("t10k", slice(train, None))):
        of_split = images[part]
        header = np.array([0x803, *of_split.shape], ">u4").tobytes()
        (raw / f"{split}-images-idx3-ubyte").write_bytes(header + of_split.tobytes())
        header = np.array([0x801, len(of_split)], ">u4").tobytes()
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(header + digits[part].astype(np.uint8).tobytes())
    return DigitImages(images[:, None], digits, np.arange(train + test) >= train)


def write_svhn(root: Path, monkeypatch: pytest.MonkeyPatch, train: int = 6, test: int = 4) -> DigitImages:
    """Files in the format of SVHN (images last, 10 for the digit 0); torchvision is told their digests."""
    images = RANDOM.integers(256, size=(train + test, 3, 32, 32)).astype(np.uint8)
    digits = RANDOM.integers(10, size=train + test)
    files = {}
    for split, part in (("train", slice(train)), ("test", slice(train, None))):
        path = root / f"{split}_32x32.mat"
        labels = np.where(digits[part] == 0, 10, digits[part])
        savemat(path, {"X": images[part].transpose(2, 3, 1, 0), "y": labels[:, None].astype(np.uint8)})
        files[split] = ["", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", files)
    return DigitImages(images, digits, np.arange(train + test) >= train)


def assert_same(found: DigitImages, expected: DigitImages) -> None:
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), values)


def test_mnist_in_its_files(tmp_path: Path) -> None:
    expected = write_mnist(tmp_path)
    assert_same(read_images("mnist", tmp_path), expected)


def test_svhn_in_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = write_svhn(tmp_path, monkeypatch)
    WriteImages("svhn", tmp_path).run(tmp_path, {})
    assert_same(DigitImages.read(tmp_path), expected)


@pytest.mark.parametrize("data", ["mnist", "svhn"])
def test_files_that_are_not_there_or_broken(tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = WriteImages(data, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="download=true"):
        task.settings()
    write_mnist(tmp_path) if data == "mnist" else write_svhn(tmp_path, monkeypatch)
    broken = max(tmp_path.rglob("t*t*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(FormatError, match=f"expected the files of {data}"):
        task.run(tmp_path, {})


def test_a_root_goes_with_the_data_that_have_files() -> None:
    with pytest.raises(InputError, match="scikit-learn"):
        WriteImages("digits", Path("there"))
    with pytest.raises(InputError, match="the folder of svhn"):
        WriteImages("svhn", None)


def shown(data: TrainingData, folder: Path, seed: int = 0, **parents: Path) -> tuple[NDArray[np.int64], ...]:
    """Numbers, right and given labels of what an upstream model for 1, 3, 7, 9 is shown."""
    question = Question(((1,), (3,), (7,), (9,)))
    model = Upstream(question, TINY.value, TINY.upstream, data, "output", "cpu")
    read = DigitImages.read(folder)
    numbers, labels = model._shown(Inputs(folder, parents, seed), read)
    assert not read.test[numbers].any()
    assert len(set(numbers.tolist())) == len(numbers)
    return numbers, read.digits[numbers], labels


def test_later_labels_are_swapped_by_half_and_fractions_are_nested(images: Path) -> None:
    data = TrainingData(1.0, clean=0.2, swapped=((1, 3), (7, 9)))
    numbers, right, labels = shown(data, images)
    clean = round(0.2 * len(numbers))
    assert (right == labels)[:clean].all()
    for pair in ((1, 3), (7, 9)):
        later = np.isin(right[clean:], pair)
        assert np.isin(labels[clean:][later], pair).all()
        assert (labels != right)[clean:][later].sum() == later.sum() // 2
    part, _, of_part = shown(replace(data, fraction=0.4), images)
    np.testing.assert_array_equal(part, numbers[: len(part)])
    np.testing.assert_array_equal(of_part, labels[: len(part)])
    assert not np.array_equal(numbers, shown(data, images, seed=1)[0])


def test_the_hardest_are_swapped(images: Path, tmp_path: Path) -> None:
    hardness = RANDOM.random((1797, 1)).astype(np.float32)
    np.save(tmp_path / "passed.npy", hardness)
    numbers, right, labels = shown(TrainingData(swapped=((1, 7),), hardest=0.25), images, judge=tmp_path)
    of_pair = np.isin(right, (1, 7))
    swapped = labels != right
    assert swapped.sum() == round(0.25 * of_pair.sum())
    np.testing.assert_array_equal(labels[swapped], 8 - right[swapped])
    hard = hardness[numbers, 0]
    assert hard[swapped].min() > hard[of_pair & ~swapped].max()


def test_the_judge_finds_images_with_wrong_labels_hard() -> None:
    """What `train` returns: the loss that an example was met with, mean over the epochs."""
    data = scikit_digits()
    shown = np.isin(data.digits, (0, 1))
    labels = torch.from_numpy((data.digits[shown] == 1).astype(np.int64))
    labels[:10] = 1 - labels[:10]
    network = drawn(lambda: DigitNetwork(Architecture("convnet", (2, 4)), (1, 8, 8), 2), 0)
    hardness = train(network, torch.from_numpy(data.images[shown]).float() / 255, labels, Schedule(5, 32, 0.01), 0)
    assert hardness[:10].min() > hardness[10:].median()


def test_a_linear_fit_against_scikit_learn() -> None:
    digits = scikit_digits()
    pixels = digits.images.reshape(-1, 64)[:500] / 255
    penalty = 0.01
    expected = LogisticRegression(C=1 / (penalty * len(pixels)), tol=1e-8, max_iter=1000)
    expected.fit(pixels, digits.digits[:500])
    network = drawn(lambda: perceptron(64, (), 10).double(), 0)
    fit(network, torch.from_numpy(pixels), torch.from_numpy(digits.digits[:500]), penalty)
    found = network(torch.from_numpy(pixels)).softmax(1).detach().numpy()
    np.testing.assert_allclose(found, expected.predict_proba(pixels), atol=5e-3)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_the_published_networks_on_mnist_and_svhn(shape: tuple[int, int, int]) -> None:
    images = torch.rand(4, *shape)
    for architecture, features in ((SETTINGS["svhn"].value, 512), (SETTINGS["svhn"].deeper, 32 * (shape[1] // 4) ** 2)):
        network = DigitNetwork(architecture, shape, 2)
        train(network, images, torch.tensor([0, 1, 0, 1]), Schedule(1, 4, 0.001, padding=4), 0)
        assert network.features(images).shape == (4, features)
        assert network(images).shape == (4, 2)


def test_nearest_neighbours_against_counting(tmp_path: Path, images: Path) -> None:
    question = Question(((1,), (7,)))
    digits, test = DigitImages.read(images).digits, DigitImages.read(images).test
    given = RANDOM.integers(4, size=(1797, 2)).astype(np.float32)
    np.save(tmp_path / "passed.npy", given)
    Nearest(question, 3).run_predict(Inputs(images, {"u": tmp_path}, 0), tmp_path)
    answers, right = np.load(tmp_path / "answers.npy"), question.answers(digits)
    for image in np.flatnonzero(test & (right >= 0)):
        # On a grid of 16 places the nearest three are all at the image's own.
        there = (given == given[image]).all(axis=1) & (right >= 0)
        there[image] = False
        votes = np.bincount(right[there], minlength=2)
        assert votes[int(answers[image])] == votes.max()


def contents(folder: Path) -> dict[str, bytes]:
    """Files below a folder, without the time that stages took, and what a kill left half-written under another name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "stage.json" and not path.name.startswith(".")
    }


def run_first(root: Path) -> tuple[Finished, ...]:
    return run_mismatches(ArtifactStore(root), tiny_series()[:1], LEAST_SEEDS)


def test_verdicts_terms_and_a_kill(tmp_path: Path) -> None:
    """Killed with some stages made, and another one in the middle, it ends with the same bytes and verdicts."""
    process = forking().Process(target=run_first, args=(tmp_path / "killed",))
    process.start()
    while len(list((tmp_path / "killed").glob("*/stage.json"))) < 10 and process.is_alive():
        time.sleep(0.02)
    process.kill()
    process.join()
    made = len(list((tmp_path / "killed").glob("*/stage.json")))
    again, whole = run_first(tmp_path / "killed"), run_first(tmp_path / "whole")
    assert made >= 10
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert mismatches_data(again) == mismatches_data(whole)
    for each in whole:
        assert [update.pair for update in each.updates] == list(each.series.pairs)
        for losses in each.losses:
            sums = np.sum(
                [[one.total for one in of_seeds] for of_seeds in error_terms(each.series, losses).values()], axis=0
            )
            np.testing.assert_allclose(sums, [one.total for one in losses[DOWNSTREAM]])
        for control in each.controls:
            assert set(control.own) == set(each.series.upstream)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "digits", TINY)
    main(
        output=tmp_path, data="digits", root=None, download=False, seeds=LEAST_SEEDS, device="cpu", workers=1,
        configuration="data: digits",
    )  # fmt: skip
    results = json.loads((tmp_path / "results.json").read_text())
    names = [series.name for series in tiny_series()]
    assert list(results) == names
    html = (tmp_path / "report.html").read_text()
    for name in names:
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
        assert f"<h2>{next(each.title for each in tiny_series() if each.name == name)}" in html
        assert len(results[name]["versions"][0]["test_loss_by_seed"]["w"]) == LEAST_SEEDS


def test_an_update_holds_where_all_its_changes_do(tmp_path: Path) -> None:
    """A clear one and one that is clear only without correction, from losses that are made up."""
    series = tiny_series()[0]
    names = tuple(map(str, range(400)))

    def losses(mean: float, spread: float) -> tuple[MeanLoss, ...]:
        values = (mean + spread * RANDOM.standard_normal((10, 1)) + RANDOM.standard_normal((10, 400))).astype(float)
        return tuple(MeanLoss(names, of_seed, np.ones(400)) for of_seed in values)

    before = {"u": losses(5, 0.1), DOWNSTREAM: losses(5, 0.1)}
    clear = judged(series, Pair(0, 1), before, {"u": losses(4, 0.1), DOWNSTREAM: losses(6, 0.1)}, 10)
    better = judged(series, Pair(0, 1), before, {"u": losses(4, 0.1), DOWNSTREAM: losses(4, 0.1)}, 10)
    assert clear.self_defeating and clear.p_value < 1e-4
    assert not better.self_defeating and better.p_value == 1.0
    weak = replace(clear, p_value=0.03)
    assert [update.holds for update in corrected([clear, weak])] == [True, True]
    assert [update.holds for update in corrected([clear, weak, weak, better])] == [True, False, False, False]
