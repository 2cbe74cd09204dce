"""How arguments reach CUDA kernels without numba-cuda's launch: what a kernel's assembly takes; the fallback."""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from pseudolidar.kernels import cuda as kernels

ARGUMENTS = (torch.zeros(3, 2, dtype=torch.float64), torch.zeros(3, dtype=torch.uint8), (0.5, 0.25), 1.5, 7, True)


def assembly(arguments: Sequence[kernels.Argument]) -> str:
    """The probe compiled for some card, which need not be there."""
    try:
        signature = tuple(kernels._numba_type(argument) for argument in arguments)
        return str(kernels.cuda.compile_ptx(kernels._probe.py_func, signature, cc=(8, 0))[0])
    except Exception as error:
        # numba-cuda 0.30 compiles nothing under NumPy 2.5: it asks for functions that NumPy no longer has.
        if any(word in str(error) for word in ("NVVM", "libdevice", "module 'numpy' has no attribute")):
            pytest.skip(f"no compiler for CUDA: {error}")
        raise


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_a_kernel_takes_the_words_that_are_packed(dtype: torch.dtype) -> None:
    arguments = (*ARGUMENTS, torch.zeros(3, dtype=dtype))
    entry = re.search(r"\.entry[^(]*\(([^)]*)\)", assembly(arguments))
    assert entry is not None
    declared = re.findall(r"\.param \.(\w+)", entry[1])
    words = kernels._words(arguments)
    assert ["f64" if isinstance(word, float) else "u64" for word in words] == [
        kind.replace("u8", "u64").replace("s8", "u64").replace("b8", "u64") for kind in declared
    ]
    assert entry[1].count(".param") == len(words) and words[4] == arguments[0].data_ptr()


def test_words_of_arrays_tuples_and_numbers() -> None:
    array = torch.zeros(5, 3, 2, dtype=torch.float32)
    assert kernels._words([array]) == [0, 0, 30, 4, array.data_ptr(), 5, 3, 2, 24, 8, 4]
    assert [repr(word) for word in kernels._words([(1, 2.5), 7, 0.5, True])] == ["1.0", "2.5", "7", "0.5", "True"]


@pytest.fixture
def on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test without a card."""
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *size, device: zeros(*size))
    kernels._arguments_are_laid_out_as_known.cache_clear()


def run(kernel: Any, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
    table, marks, weights, factor, offset, flag, found = arguments
    for i in range(len(found)):
        found[i] = table[i, 0] * weights[0] + table[i, 1] * weights[1] + marks[i] * factor + offset if flag else 0


def run_shifted(kernel: Any, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
    run(kernel, blocks, threads, (*arguments[:4], arguments[4] + 1, *arguments[5:]))


def refuse(kernel: Any, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
    raise AttributeError("'CUDACodeLibrary' object has no attribute 'get_cufunc'")


@pytest.mark.usefixtures("on_the_processor")
def test_the_self_test_passes_where_the_kernel_computes_as_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_launch_by_driver", run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernels._arguments_are_laid_out_as_known()


@pytest.mark.usefixtures("on_the_processor")
@pytest.mark.parametrize(("launch", "reason"), [(run_shifted, r"a kernel found \[8\."), (refuse, "get_cufunc")])
def test_another_layout_falls_back_and_says_so_once(monkeypatch: pytest.MonkeyPatch, launch: Any, reason: str) -> None:
    monkeypatch.setattr(kernels, "_launch_by_driver", launch)
    with pytest.warns(UserWarning, match=rf"numba-cuda takes arguments in another way.*{reason}"):
        assert not kernels._arguments_are_laid_out_as_known()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not kernels._arguments_are_laid_out_as_known()
    kernels._arguments_are_laid_out_as_known.cache_clear()


@pytest.mark.parametrize("card", [True, False])
def test_a_missing_compiler_is_said_once_where_there_is_a_card(monkeypatch: pytest.MonkeyPatch, card: bool) -> None:
    monkeypatch.setattr(kernels.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card)
    kernels.cuda_kernels_run.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert not kernels.cuda_kernels_run() and not kernels.cuda_kernels_run()
    assert [str(each.message).partition(":")[0] for each in caught] == card * [
        "CUDA kernels can't be compiled, plain PyTorch takes their place"
    ]
    kernels.cuda_kernels_run.cache_clear()
