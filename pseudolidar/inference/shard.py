"""A share of a data set's frames for one of several machines, or for one task of a Slurm array."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pseudolidar.files import InputError


@dataclass(frozen=True)
class Shard:
    """Every `count`-th frame of a list, from the `number`-th on.

    Neighbours in a drive are alike; taken in turn, every shard has its part of what is slow.

    Attributes:
        number: 1 to `count`.
        count: shards in all.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(f"shard: found {self.number}/{self.count}, expected 1/N to N/N, N shards in all")

    @classmethod
    def from_text(cls, text: str | None) -> "Shard":
        """`3/16` is the third of sixteen; None all frames.

        Raises:
            InputError: anything else.
        """
        if text is None:
            return WHOLE
        match = re.fullmatch(r"(\d+)/(\d+)", str(text))
        if match is None:
            raise InputError(f"shard: found {text!r}, expected NUMBER/COUNT, e.g. 3/16 for the third of sixteen")
        return cls(int(match[1]), int(match[2]))

    def of(self, names: Sequence[str]) -> list[str]:
        """The names that belong to this shard, by their places in the list, finished ones too."""
        return list(names[self.number - 1 :: self.count])


WHOLE = Shard(1, 1)
"""Every frame."""
