"""Records of how outputs were made: the same one goes on, another one is refused with both values, or replaced."""

from pathlib import Path

import pytest

from pseudolidar.files import (
    RECORD_FILE,
    FormatError,
    Record,
    claimed,
    combined_digest,
    file_digest,
    files_digest,
    keep_record,
    require_same_record,
)
from tests.forked import forking

MAPS = Record("maps", {"loss": "depth", "crop": {"height": 4, "width": 8}}, {"model": "aaaa"})


def make(
    folder: Path, record: Record = MAPS, items: dict[str, str] | None = None, overwrite: bool = False
) -> list[str]:
    """Claim the folder, write what is missing, return what that was."""
    items = {"1": "x", "2": "y"} if items is None else items
    written = []
    with claimed(folder, record, items, ["{}.npy"], overwrite):
        for name in items:
            if not (folder / f"{name}.npy").exists():
                (folder / f"{name}.npy").write_text(f"{record.fingerprint} {items[name]}")
                written.append(name)
    return written


def test_settings_come_back_as_they_were() -> None:
    record = Record("maps", {"sizes": (1, 2), "folder": Path("a"), "none": None}, {})
    assert Record.from_dict(record.to_dict()) == record
    assert record.settings == {"sizes": [1, 2], "folder": "a", "none": None}
    assert record.fingerprint == Record("maps", dict(reversed(list(record.settings.items()))), {}).fingerprint
    assert record.fingerprint != Record("maps", {**record.settings, "none": 0}, {}).fingerprint


@pytest.mark.parametrize(
    ("other", "found", "expected"),
    [
        (Record("maps", {**MAPS.settings, "loss": "disparity"}, MAPS.inputs), "loss=depth", "loss=disparity"),
        (
            Record("maps", {"loss": "depth", "crop": {"height": 4, "width": 9}}, MAPS.inputs),
            "crop.width=8",
            "crop.width=9",
        ),
        (Record("maps", {"loss": "depth", "crop": None}, MAPS.inputs), "crop={'height': 4, 'width': 8}", "crop=None"),
        (Record("maps", {**MAPS.settings, "seed": 1}, MAPS.inputs), "no seed", "seed=1"),
        (Record("maps", MAPS.settings, {"model": "bbbb"}), "model=aaaa", "model=bbbb"),
        (Record("clouds", MAPS.settings, MAPS.inputs), "kind of output=maps", "kind of output=clouds"),
        (Record("maps", MAPS.settings, MAPS.inputs, "9.9"), f"version={MAPS.version}", "version=9.9"),
    ],
)
def test_another_record_is_refused_with_both_values(tmp_path: Path, other: Record, found: str, expected: str) -> None:
    with pytest.raises(FormatError) as refused:
        require_same_record(tmp_path, MAPS, other)
    assert f"record: found {found}, expected {expected}, as asked for now; overwrite=true" in str(refused.value)
    assert make(tmp_path) == ["1", "2"]
    with pytest.raises(FormatError, match="as asked for now"):
        make(tmp_path, other)
    assert make(tmp_path) == []
    assert make(tmp_path, other, overwrite=True) == ["1", "2"]
    assert make(tmp_path, other) == []


def test_many_differences_are_counted() -> None:
    with pytest.raises(FormatError, match=r"found a=0, b=0, c=0 and 2 more, expected a=1, b=1, c=1, as"):
        require_same_record(
            "u.pt", Record("m", dict.fromkeys("abcde", 0), {}), Record("m", dict.fromkeys("abcde", 1), {})
        )


def test_items_may_join_and_are_known_each_by_its_own_files(tmp_path: Path) -> None:
    assert make(tmp_path, items={"1": "x"}) == ["1"]
    assert make(tmp_path, items={"2": "y", "3": "z"}) == ["2", "3"]
    assert make(tmp_path, items={"1": "x", "2": "y", "3": "z"}) == []
    with pytest.raises(FormatError, match=r"2\.npy: record: found input files of 2=y, expected input files of 2=chan"):
        make(tmp_path, items={"1": "x", "2": "changed"})
    assert make(tmp_path, items={"1": "x", "2": "changed"}, overwrite=True) == ["2"]
    # What was not made yet may be made of other files.
    (tmp_path / "3.npy").unlink()
    assert make(tmp_path, items={"3": "changed"}) == ["3"]


def test_files_without_a_record_are_nobodys(tmp_path: Path) -> None:
    (tmp_path / "2.npy").write_text("from elsewhere")
    with pytest.raises(FormatError, match=r"2\.npy: record: found none of how it was made, expected that of maps"):
        make(tmp_path)
    assert (tmp_path / "2.npy").read_text() == "from elsewhere"
    assert make(tmp_path, overwrite=True) == ["1", "2"]
    # Another format of the same items has files of its own.
    (tmp_path / "1.png").write_text("from elsewhere")
    with pytest.raises(FormatError, match=r"1\.png"), claimed(tmp_path, MAPS, {"1": "x"}, ["{}.png"]):
        pass


def test_what_is_overwritten_goes_whole_and_nothing_else_goes(tmp_path: Path) -> None:
    make(tmp_path, items={"1": "x", "2": "y"})
    (tmp_path / "notes.txt").write_text("mine")
    other = Record("maps", {"loss": "disparity"}, {})
    assert make(tmp_path, other, {"1": "x"}, overwrite=True) == ["1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".record.lock", "1.npy", "notes.txt", RECORD_FILE]


def test_a_run_that_fails_before_its_first_file_leaves_the_folder_free(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claimed(tmp_path, MAPS, {"1": "x"}, ["{}.npy"]):
        raise ZeroDivisionError
    assert make(tmp_path, Record("maps", {}, {}), {"1": "x"}) == ["1"]
    with pytest.raises(ZeroDivisionError), claimed(tmp_path, Record("maps", {}, {}), {"2": "x"}, ["{}.npy"]):
        raise ZeroDivisionError
    with pytest.raises(FormatError, match="found no loss"):
        make(tmp_path)


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / RECORD_FILE).write_text("[]")
    with pytest.raises(FormatError, match=r"record\.json: file: found no record of a folder"):
        make(tmp_path)


def claim_one(folder: Path, name: str) -> None:
    for number in range(20):
        make(folder, items={f"{name}{number}": "x"})


def test_processes_that_share_a_folder_lose_no_item(tmp_path: Path) -> None:
    processes = [forking().Process(target=claim_one, args=(tmp_path, name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert make(tmp_path, items={f"{name}{number}": "x" for name in "ab" for number in range(20)}) == []


def test_a_record_in_a_file_of_its_own(tmp_path: Path) -> None:
    for _ in range(2):
        keep_record(tmp_path / "store.json", MAPS)
    with pytest.raises(FormatError, match=r"store\.json: record: found loss=depth"):
        keep_record(tmp_path / "store.json", Record("maps", {"loss": "disparity"}, {}))
    (tmp_path / "store.json").write_text("{}")
    with pytest.raises(FormatError, match=r"store\.json: file: found no record of maps"):
        keep_record(tmp_path / "store.json", MAPS)


def test_digests(tmp_path: Path) -> None:
    small, large = tmp_path / "a.txt", tmp_path / "b.bin"
    small.write_text("label")
    large.write_bytes(bytes(20_000))
    before = files_digest([small, large])
    (tmp_path / "moved").mkdir()
    for path in (small, large):
        (tmp_path / "moved" / path.name).write_bytes(path.read_bytes())
    assert files_digest([tmp_path / "moved" / "a.txt", tmp_path / "moved" / "b.bin"]) == before
    for place in (0, 4095, 19_999):
        content = bytearray(20_000)
        content[place] = 1
        large.write_bytes(content)
        assert files_digest([small, large]) != before
    large.write_bytes(bytes(20_001))
    assert files_digest([small, large]) != before
    assert files_digest([small]) != files_digest([small, tmp_path / "missing"])
    assert files_digest([large, small]) != files_digest([small, large])
    assert combined_digest({"1": "a", "2": "b"}) != combined_digest({"1": "b", "2": "a"})
    assert combined_digest({"1": "a"}).startswith("1 items, ")
    assert file_digest(small) != file_digest(large)
    with pytest.raises(FormatError, match="nothing there, expected weights"):
        file_digest(tmp_path / "missing", "weights")
