"""The renderer's numba decorator: single-threaded machine code, kept in the cache between runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function of numbers and arrays; no fast-math, so that the same seed gives the same bytes."""
    return cast(Callable[Arguments, Result], numba.njit(cache=True, error_model="numpy", nogil=True)(function))
