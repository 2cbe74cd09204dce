"""The store: what it keeps between processes, how it grows, and that bad input changes no byte of it."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import ArrayLike

from pseudolidar.files import FormatError, InputError
from pseudolidar.updates import (
    ConfusionMatrix,
    CostRatio,
    MajorityVote,
    MaxBelief,
    PredictionStore,
    Replace,
    StepRecord,
    redo_log,
)

GOOD = ConfusionMatrix(np.full((3, 3), 0.1) + 0.7 * np.eye(3))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "store"
    with PredictionStore.create(folder, 5, 3, prior=[0.5, 0.25, 0.25]) as store:
        assert (store.items, store.classes, store.votes, store.last_step) == (5, 3, None, None)
        assert store.prior.tolist() == [0.5, 0.25, 0.25]
        assert_array_equal(store.posterior, np.tile(store.prior, (5, 1)))
        dtypes = [array.dtype for array in (store.posterior, store.entropy, store.labels, store.evaluations)]
        assert dtypes == [np.float32, np.float32, np.int16, np.uint16]
        assert store.labels.tolist() == [-1] * 5 and store.requested is None
        assert_array_equal(store.request([0, 2, 3]), [0, 2, 3])
    with PredictionStore(folder) as store:
        assert store.requested is not None
        step = store.update(store.requested[:2], [1, 2], GOOD, CostRatio(3))
        assert_array_equal(step.items, [0, 2])
    with PredictionStore(folder) as store:
        # A part of the request is enough: it ends, and the rest keeps what it has.
        assert store.requested is None
        assert store.labels.tolist() == [1, -1, 2, -1, -1]
        assert store.evaluations.tolist() == [1, 0, 1, 0, 0]
        assert store.steps == (StepRecord(budget=3, evaluated=2, changed=0, rule="CostRatio(ratio=3)"),)
        assert store.last_step is not None and store.last_step.after.tolist() == [1, 2]
        assert_array_equal(store.request_uncertain(3, 0), [1, 3, 4])
        store.update([], [], GOOD, Replace())
        assert store.last_step.items.tolist() == [] and [step.evaluated for step in store.steps] == [2, 0]
    # Other programs read the arrays as they are.
    assert_array_equal(np.load(folder / "labels.npy"), [1, -1, 2, -1, -1])


def test_arrays_are_read_only_and_live(tmp_path: Path) -> None:
    store = PredictionStore.create(tmp_path / "s", 2, 3)
    labels = store.labels
    with pytest.raises(ValueError, match="read-only"):
        labels[0] = 1
    store.update(store.request([1]), [2], GOOD, MaxBelief())
    assert labels.tolist() == [-1, 2]


@pytest.mark.parametrize("first", [0, 3])
def test_growing_is_as_if_all_were_there_before(tmp_path: Path, first: int) -> None:
    stores = [PredictionStore.create(tmp_path / str(n), n, 3, [0.2, 0.3, 0.5], keep_votes=True) for n in (first, 7)]
    for store in stores:
        store.update(store.request(np.arange(first)), np.zeros(first, int), GOOD, MaxBelief())
    stores[0].add(7 - first)
    stores[0].add(0)
    for store in stores:
        store.update(store.request([0, 4, 6]), [0, 1, 2], GOOD, MajorityVote())
        store.close()
    assert digests(tmp_path / str(first)) == digests(tmp_path / "7") | {
        name: digest for name, digest in digests(tmp_path / str(first)).items() if first == 0 and "step-" in name
    }


def test_no_items_at_all(tmp_path: Path) -> None:
    store = PredictionStore.create(tmp_path / "s", 0, 3)
    for request in (store.request_uncertain, store.request_random):
        assert store.update(request(0, 0), [], GOOD, MaxBelief()).items.tolist() == []
    assert store.posterior.shape == (0, 3) and len(store.steps) == 2


def test_new_items_wait_for_the_open_request(tmp_path: Path) -> None:
    store = PredictionStore.create(tmp_path / "s", 2, 3)
    store.request_random(1, 0)
    with pytest.raises(ValueError, match="request: found one open"):
        store.add(1)
    assert store.items == 2


def test_chunks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, 1000))
    for name, at_once in (("whole", 1 << 22), ("parts", 50)):
        monkeypatch.setattr(redo_log, "_NUMBERS_AT_ONCE", at_once)
        with PredictionStore.create(tmp_path / name, 1000, 3) as store:
            for said in labels:
                items = store.request_uncertain(600, 0)
                store.update(items, said[items], GOOD, MaxBelief())
    assert digests(tmp_path / "whole") == digests(tmp_path / "parts")


@pytest.mark.parametrize(
    ("items", "labels", "matrix", "message"),
    [
        ([1, 2], [0, 3], GOOD, "labels: found 3, expected 0 to 2"),
        ([1, 2], [-1, 0], GOOD, "labels: found -1, expected 0 to 2"),
        ([1, 2], [0], GOOD, "labels: found 1, expected 2, one an item"),
        ([1, 2], [0.0, 1.0], GOOD, "labels: found float64"),
        ([1, 3], [0, 0], GOOD, "items: found 3 at place 1, expected items that were asked for"),
        ([1, 9], [0, 0], GOOD, "items: found 9 at place 1"),
        ([2, 1], [0, 0], GOOD, "items: found 1 at place 1, .*ascending"),
        ([2, 2], [0, 0], GOOD, "items: found 2 at place 1, .*each once"),
        ([-1], [0], GOOD, "items: found -1 at place 0"),
        ([1, 2], [0, 1], ConfusionMatrix(np.eye(2)), "confusion matrix: found K = 2, expected 3"),
        ([0, 2], [0, 1], ConfusionMatrix(np.eye(3)), "labels: found 1 of item 2, .*smoothing would help"),
    ],
)
def test_bad_labels_change_nothing(
    tmp_path: Path, items: ArrayLike, labels: ArrayLike, matrix: ConfusionMatrix, message: str
) -> None:
    store = PredictionStore.create(tmp_path / "s", 5, 3, keep_votes=True)
    store.update(store.request([2]), [0], ConfusionMatrix(np.eye(3)), MaxBelief())
    store.request([0, 1, 2])
    before = digests(store.folder)
    with pytest.raises(ValueError, match=message):
        store.update(items, labels, matrix, MaxBelief())
    assert digests(store.folder) == before
    # The request is still open, and good labels are welcome.
    store.update([0, 1, 2], [0, 1, 2], GOOD, MaxBelief())


def test_bad_requests_change_nothing(tmp_path: Path) -> None:
    store = PredictionStore.create(tmp_path / "s", 5, 3)
    store.request([4])
    before = digests(store.folder)
    for request in (store.request_uncertain, store.request_random):
        for budget in (6, -1):
            with pytest.raises(ValueError, match=f"budget: found {budget}, expected 0 to 5"):
                request(budget, 0)
    for items in ([0, 5], [-1], [1, 1], [2, 1]):
        with pytest.raises(ValueError, match=r"items: found .*, expected 0 to 4, ascending, each once"):
            store.request(items)
    with pytest.raises(ValueError, match="keep_votes=True"):
        store.update([4], [0], GOOD, MajorityVote())
    assert digests(store.folder) == before
    store.update([4], [0], GOOD, MaxBelief())
    with pytest.raises(ValueError, match="request: found none open"):
        store.update([4], [0], GOOD, MaxBelief())


def test_bad_stores(tmp_path: Path) -> None:
    for items, classes, prior, message in (
        (-1, 2, None, "items: found -1"),
        (1, 0, None, "classes: found 0, expected 1 to 32767"),
        (1, 32_768, None, "classes: found 32768"),
        (1, 2, [1.0], r"prior: found shape \(1,\), expected \(2,\)"),
        (1, 2, [0.5, 0.6], "prior: found a sum of 1.1"),
        (1, 2, [1.5, -0.5], "prior: found .* the least -0.5"),
        (1, 2, [np.nan, 0.5], "prior: found a sum of nan"),
    ):
        with pytest.raises(ValueError, match=message):
            PredictionStore.create(tmp_path / "s", items, classes, prior)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "labels.npy").write_text("mine")
    with pytest.raises(ValueError, match="expected a new folder or an empty one"):
        PredictionStore.create(tmp_path / "s", 1, 2)
    assert (tmp_path / "s" / "labels.npy").read_text() == "mine"
    with pytest.raises(FormatError, match=r"store.json: file: found nothing there, expected a prediction store"):
        PredictionStore(tmp_path / "s")


def test_damaged_stores(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    PredictionStore.create(folder, 4, 3).close()
    state, labels = (folder / "store.json").read_text(), (folder / "labels.npy").read_bytes()
    errors: list[FormatError] = []
    for damage, message in (
        (lambda: (folder / "store.json").write_text("{}"), "store.json: file"),
        (lambda: (folder / "store.json").write_text(json.dumps(json.loads(state) | {"items": 5})), "npy: byte"),
        (lambda: (folder / "labels.npy").write_bytes(labels[:-1]), "labels.npy: byte 135"),
        (lambda: np.save(folder / "labels.npy", np.zeros(4)), "labels.npy: header: found float64"),
        (lambda: (folder / "labels.npy").write_bytes(b"nothing"), "labels.npy: header"),
        (lambda: (folder / "labels.npy").unlink(), "labels.npy: file: found nothing there"),
    ):
        damage()
        with pytest.raises(FormatError, match=message) as caught:
            PredictionStore(folder)
        errors.append(caught.value)  # as an interactive session does; the lock must not live with them
        (folder / "store.json").write_text(state)
        (folder / "labels.npy").write_bytes(labels)
    PredictionStore(folder)


def test_stores_from_before_there_were_last_evaluations(tmp_path: Path) -> None:
    PredictionStore.create(tmp_path / "s", 4, 3).close()
    state = json.loads((tmp_path / "s" / "store.json").read_text())
    assert state.pop("keep_last") is False
    (tmp_path / "s" / "store.json").write_text(json.dumps(state))
    assert PredictionStore(tmp_path / "s").last is None


def test_a_class_that_is_hardly_possible_is_possible(tmp_path: Path) -> None:
    store = PredictionStore.create(tmp_path / "s", 1, 3, [1, 1e-60, 0])
    assert store.posterior[0, 1] > 0 and store.posterior[0, 2] == 0


def test_numbers_may_be_numpys(tmp_path: Path) -> None:
    store = PredictionStore.create(tmp_path / "s", np.int64(4), np.int16(3))  # type: ignore[arg-type]
    store.add(np.int64(2))  # type: ignore[arg-type]
    for request in (store.request_uncertain, store.request_random):
        one = request(np.int64(3), np.int64(-5)).tolist()  # type: ignore[arg-type]
        assert len(one) == 3 and one == request(3, -5).tolist()
    store.close()
    assert PredictionStore(tmp_path / "s").items == 6


def test_closed_stores_take_nothing(tmp_path: Path) -> None:
    store = PredictionStore.create(tmp_path / "s", 1, 3)
    store.request([0])
    store.close()
    for write in (
        lambda: store.add(1),
        lambda: store.request_random(1, 0),
        lambda: store.update([0], [0], GOOD, MaxBelief()),
    ):
        with pytest.raises(ValueError, match=r"store: found .* closed, expected it open"):
            write()


def test_one_user_at_a_time(tmp_path: Path) -> None:
    store = PredictionStore.create(tmp_path / "s", 1, 2)
    with pytest.raises(InputError, match="found the store open elsewhere"):
        PredictionStore(tmp_path / "s")
    command = "import sys; from pseudolidar.updates import PredictionStore; PredictionStore(sys.argv[1])"
    other = subprocess.run([sys.executable, "-c", command, store.folder], capture_output=True, text=True)
    assert other.returncode == 1 and "found the store open elsewhere" in other.stderr
    del store
    PredictionStore(tmp_path / "s").close()
