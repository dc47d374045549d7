"""Many fits at once: a queue of one-epoch tasks over a persistent pool of threads.

A fleet is faster than a loop because each model keeps to one core and the native kernel runs without the interpreter.
No model knows of the others, so each ends with the bytes of its solo fit.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Protocol

from ..errors import InputError

log = logging.getLogger(__name__)


class Steps(Protocol):
    """Anything that advances by steps: a `Fitting`, a `Training`."""

    def step(self) -> bool:
        """Advance; return True when done."""
        ...


def run(
    tasks: Sequence[Steps], threads: int | None = None, progress: Callable[[float], None] | None = None
) -> list[Exception | None]:
    """Advance every task until it is done.

    Parameters
    ----------
    tasks : sequence of Steps
        Each is stepped by one thread at a time.
    threads : int, optional
        Threads to share; the cores this process may use by default.
    progress : callable, optional
        Called from the calling thread, a few times a second, with the fraction done (0 to 1).

    Returns
    -------
    list of Exception or None
        What stopped each task, None where it finished. A failure stops its own task only.

    Examples
    --------
    >>> class Countdown:
    ...     def __init__(self, n): self.n = n
    ...     def step(self):
    ...         self.n -= 1
    ...         return self.n == 0
    >>> run([Countdown(3), Countdown(5)], threads=2)
    [None, None]
    """
    threads = check_threads(threads)
    waiting = deque(enumerate(tasks))
    failures: list[Exception | None] = [None] * len(tasks)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                i, task = waiting.popleft()
            except IndexError:
                return
            try:
                while not stop.is_set() and not task.step():
                    pass
            except Exception as error:  # one failed fit must not take the fleet down; the caller gets it
                log.info("task %d of %d failed: %s", i + 1, len(tasks), error)
                failures[i] = error

    workers = [_pool(threads).submit(work) for _ in range(min(threads, len(tasks)))]
    try:
        for worker in workers:
            while not worker.done():
                _wait(worker)
                if progress:
                    progress(_fraction(tasks))
        for worker in workers:
            worker.result()
    except BaseException:  # Ctrl-C: let each worker finish its epoch, then pass it on
        stop.set()
        for worker in workers:
            worker.exception()
        raise
    if progress:
        progress(1.0)
    return failures


def cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_threads(threads: int | None) -> int:
    """Return `threads`, or all cores when None; raise `InputError` below 1."""
    if threads is None:
        return cores()
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise InputError(f"threads must be a whole number of at least 1, was {threads!r}.")
    return threads


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="longshort-fleet")


def _wait(worker) -> None:
    from concurrent.futures import TimeoutError

    try:
        worker.exception(timeout=0.1)
    except TimeoutError:
        return


def _fraction(tasks: Sequence[Steps]) -> float:
    return sum(getattr(task, "fraction", 0.0) for task in tasks) / max(len(tasks), 1)
