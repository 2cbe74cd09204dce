"""Reading, computing and writing of many items at the same time."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

from pseudolidar.files.progress import track

Item = TypeVar("Item")
Given = TypeVar("Given")
Found = TypeVar("Found")


def overlapped(
    items: Sequence[Item],
    description: str | None,
    read: Callable[[Item], Given],
    compute: Callable[[Item, Given], Found],
    write: Callable[[Item, Found], None],
    threads: int,
) -> None:
    """Call `write(item, compute(item, read(item)))` for every item, with a progress bar called `description`, or none.

    This thread computes, item by item in their order. Meanwhile `threads` threads read what comes next, and as many
    write what was computed, in whatever order: worth it as far as they leave the interpreter's lock, as decoding, the
    disk and work for other processes do. No more than `2 * threads` items are read ahead, as many wait to be written.

    The first error ends it: of an item that can't be read or computed when its turn comes, so that all before it are
    written; of one that can't be written after the item that is being computed. Ctrl-C ends it as soon as what is being
    written is written.
    """
    readers, writers = ThreadPoolExecutor(threads), ThreadPoolExecutor(threads)
    try:
        writing = deque[Future[None]]()
        ahead = _read_ahead(items, read, readers, 2 * threads)
        for item, given in ahead if description is None else track(ahead, description, len(items)):
            writing.append(writers.submit(write, item, compute(item, given)))
            while writing and (writing[0].done() or len(writing) > 2 * threads):
                writing.popleft().result()
        for future in writing:
            future.result()
    except Exception:
        writers.shutdown()
        raise
    finally:
        for pool in (readers, writers):
            pool.shutdown(cancel_futures=True)


def _read_ahead(
    items: Sequence[Item], read: Callable[[Item], Given], readers: Executor, ahead: int
) -> Iterator[tuple[Item, Given]]:
    reading = deque[tuple[Item, Future[Given]]]()
    for item in items:
        reading.append((item, readers.submit(read, item)))
        if len(reading) > ahead:
            first, future = reading.popleft()
            yield first, future.result()
    for item, future in reading:
        yield item, future.result()
