"""Learning rates as plain functions of the step."""

import math
from collections.abc import Callable, Sequence


def constant(learning_rate: float) -> Callable[[int], float]:
    """The same learning rate at every step."""
    return lambda step: learning_rate


def step_decay(learning_rate: float, milestones: Sequence[int], factor: float = 0.1) -> Callable[[int], float]:
    """`learning_rate`, multiplied by `factor` from each of the `milestones` (in steps) on."""
    return lambda step: learning_rate * factor ** sum(step >= milestone for milestone in milestones)


def one_cycle(
    learning_rate: float, steps: int, warmup: float = 0.1, start: float = 0.1, end: float = 0.01
) -> Callable[[int], float]:
    """A rise from `start` x `learning_rate` over the share `warmup` of the steps, then a cosine down to `end` x it.

    Source: Smith and Topin, Super-Convergence, 2018; cosine annealing as in Loshchilov and Hutter, SGDR, 2017.
    """
    rising = max(1, round(warmup * steps))

    def at(step: int) -> float:
        if step < rising:
            return learning_rate * (start + (1 - start) * step / rising)
        done = min(1.0, (step - rising) / max(1, steps - 1 - rising))
        return learning_rate * (end + (1 - end) * (1 + math.cos(math.pi * done)) / 2)

    return at
