"""Worker processes that don't outlive the process that started them."""

import functools
import os
import threading
import time

_INTERVAL_S = 0.2


@functools.cache
def end_with(parent: int) -> None:
    """From now on this process ends when its parent does, even one that is killed and can't tell anybody.

    Args:
        parent: the number of the process that started this one.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL_S)
    os._exit(1)
