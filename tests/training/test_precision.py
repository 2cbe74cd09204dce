"""What `auto` precision means."""

import pytest
import torch

from pseudolidar.training import arithmetic_of, arithmetic_threads, require_device


def test_named_precisions_are_taken_as_they_are() -> None:
    assert arithmetic_of("float32", "cpu") == "float32"
    assert arithmetic_of("bfloat16", "cpu") == "bfloat16"


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_asks_the_processor(monkeypatch: pytest.MonkeyPatch, native: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert arithmetic_of("auto", "cpu") == expected


def test_unknown_precision() -> None:
    with pytest.raises(ValueError, match="float16"):
        arithmetic_of("float16", "cpu")  # type: ignore[arg-type]


def test_threads_are_set_inside_and_restored() -> None:
    before = torch.get_num_threads()
    with arithmetic_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        with arithmetic_threads(None):
            assert torch.get_num_threads() == before + 1
    with pytest.raises(KeyError), arithmetic_threads(before + 2):
        raise KeyError
    assert torch.get_num_threads() == before


def test_devices_that_are_not_there() -> None:
    assert require_device("cpu") == torch.device("cpu")
    for device in ("cuda:99", "toaster"):
        with pytest.raises(ValueError, match=f"device: found '{device}'"):
            require_device(device)
