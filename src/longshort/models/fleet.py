"""Many fits at once: a queue of tasks over a persistent pool of threads.

A fleet is faster than a loop because each model keeps to one core and the native kernel runs without the interpreter.
No model knows of the others, so each ends with the bytes of its solo fit.

Tasks form a tree: a fold of a walk-forward waits for the members of an ensemble, a member for its seeds. Whatever may
run at the same time does, and a task goes on once its parts are done. Newest parts run first, so that few tasks are
open at a time.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Protocol, runtime_checkable

from ..errors import InputError

log = logging.getLogger(__name__)


class Steps(Protocol):
    """Anything that advances by steps: a `Fitting`, a `Training`."""

    def step(self) -> bool:
        """Advance; return True when done."""
        ...


@runtime_checkable
class Parted(Protocol):
    """A task whose next step waits for others, which may run at the same time."""

    def parts(self) -> Sequence[Steps]:
        """Return what has to be done before the next `step`; nothing when the step may be taken."""
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
    queue = _Queue(tasks)
    if getattr(_here, "works", False):  # a fit inside a fleet: its pool may be this one, and all of it busy
        queue.work()
        return queue.failures
    n_workers = threads if any(isinstance(task, Parted) for task in tasks) else min(threads, len(tasks))
    workers = [_pool(threads).submit(queue.work) for _ in range(n_workers)]
    try:
        for worker in workers:
            while not worker.done():
                _wait(worker)
                if progress:
                    progress(_fraction(tasks))
        for worker in workers:
            worker.result()
    except BaseException:  # Ctrl-C: let each worker finish its epoch, then pass it on
        queue.close()
        for worker in workers:
            worker.exception()
        raise
    if progress:
        progress(1.0)
    return queue.failures


def finish(tasks: Sequence[Steps], threads: int | None = None, progress: Callable[[float], None] | None = None) -> None:
    """Advance every task until it is done, as `run`; then raise what stopped the first that failed."""
    for failure in run(tasks, threads, progress):
        if failure is not None:
            raise failure


_here = threading.local()


@dataclass(eq=False)
class _Node:
    task: Steps
    root: int  # index of the task it belongs to
    parent: "_Node | None" = None
    pending: int = 0  # parts not yet done


class _Queue:
    """What is ready to run, and who waits for whom; shared by the workers."""

    def __init__(self, tasks: Sequence[Steps]):
        self.failures: list[Exception | None] = [None] * len(tasks)
        self._ready = deque(_Node(task, i) for i, task in enumerate(tasks))
        self._open, self._closed, self._changed = len(tasks), False, threading.Condition()

    def work(self) -> None:
        """Run what is ready until nothing is left."""
        outer, _here.works = getattr(_here, "works", False), True
        try:
            while (node := self._next()) is not None:
                try:
                    parts = self._advance(node)
                except Exception as error:  # one failed fit must not take the fleet down; the caller gets it
                    self._fail(node, error)
                    continue
                if parts:
                    self._put(node, parts)
                else:
                    self._finish(node)
        finally:
            _here.works = outer

    def close(self) -> None:
        """Let the workers stop after the step they are in."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> _Node | None:
        with self._changed:
            while not self._ready and self._open and not self._closed:
                self._changed.wait()
            return None if self._closed or not self._open else self._ready.popleft()

    def _advance(self, node: _Node) -> Sequence[Steps]:
        """Step a task until it is done, or return the parts it waits for."""
        task, parted = node.task, isinstance(node.task, Parted)
        while not self._closed and self.failures[node.root] is None:
            if parted and (parts := task.parts()):  # type: ignore[attr-defined]
                return parts
            if task.step():
                break
        return ()

    def _put(self, node: _Node, parts: Sequence[Steps]) -> None:
        with self._changed:
            node.pending = len(parts)
            self._ready.extendleft([_Node(part, node.root, node) for part in reversed(parts)])
            self._changed.notify_all()

    def _finish(self, node: _Node) -> None:
        with self._changed:
            if self._closed or self.failures[node.root] is not None:
                return
            if node.parent is None:
                self._open -= 1
            else:
                node.parent.pending -= 1
                if not node.parent.pending:
                    self._ready.appendleft(node.parent)
            self._changed.notify_all()

    def _fail(self, node: _Node, error: Exception) -> None:
        with self._changed:
            if self.failures[node.root] is None:
                log.info("task %d of %d failed: %s", node.root + 1, len(self.failures), error)
                self.failures[node.root] = error
                self._open -= 1
                self._ready = deque(other for other in self._ready if other.root != node.root)
            self._changed.notify_all()


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
