"""Flips of an update: items that one of two versions has right and the other one wrong.

A negative flip is right before and wrong after, a positive flip the reverse (Yan et al., "Positive-Congruent Training",
CVPR 2021; Träuble et al., "Backward-Compatible Prediction Updates", NeurIPS 2021).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Fate = Literal["kept", "negative flip", "positive flip", "missed"]
"""An item is right in both versions, only before, only after, in neither."""

FATES: tuple[Fate, ...] = ("kept", "negative flip", "positive flip", "missed")


@dataclass(frozen=True, eq=False)
class Flips:
    """Two versions on the same items: bool (N,), whether each has the item right.

    Two trainings of one version that differ in nothing but the seed flip items as well: compare them, too, before you
    blame an update for flips.
    """

    before: NDArray[np.bool_]
    after: NDArray[np.bool_]

    @property
    def negative(self) -> NDArray[np.bool_]:
        """(N,), right before and wrong after."""
        return self.before & ~self.after

    @property
    def positive(self) -> NDArray[np.bool_]:
        """(N,), wrong before and right after."""
        return ~self.before & self.after

    @property
    def fates(self) -> NDArray[np.str_]:
        """(N,), one of `FATES` for each item."""
        return np.array(FATES)[self._places]

    def counts(self) -> dict[Fate, int]:
        """How many items of each fate; their sum is N."""
        return dict(zip(FATES, np.bincount(self._places, minlength=len(FATES)).tolist(), strict=True))

    @property
    def _places(self) -> NDArray[np.int64]:
        return 2 * np.asarray(~self.before, np.int64) + ~self.after
