"""Where the jobs of a study run: on the threads of this process, or on the workers of a Ray cluster.

::

    folds x models  ->  chunks  ->  a task a chunk, each a fleet on its worker  ->  forecasts back in place

The bars are put into Ray's object store once, and every worker of a node reads the same memory. No more than two chunks
a slot are under way, so a study of any size needs the memory of its bars and results. A task whose worker dies is run
again on another; trials its forecasters recorded are recorded here, once. Forecasts have the bytes of a local run where
workers use the same build and instruction set; a worker that does not is refused.
"""

import logging
import os
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from .. import ledger
from ..errors import SetupError, TrainingError, UnknownName, did_you_mean
from ..models import fleet
from .fitting import Job

PARALLEL = ("threads", "ray")
RETRIES = 3  # times a chunk is run again when its worker dies
CHUNKS_A_SLOT = 4  # small enough to even out folds of different cost


def run_jobs(
    jobs: Sequence[Job],
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    parallel: str | None = None,
) -> list[Exception | None]:
    """Run every job; return what stopped each, None where it finished.

    Parameters
    ----------
    jobs : sequence of Job
        Filled in place.
    threads : int, optional
        Here: threads to share, all cores by default. On Ray: cores a task takes, one by default.
    progress : callable, optional
        Called with the fraction done.
    parallel : {None, "threads", "ray"}
        "ray" uses the cluster this process is connected to, the one of ``RAY_ADDRESS``, or starts one on this machine.
    """
    check_parallel(parallel)
    if parallel == "ray":
        return _run_on_ray(jobs, fleet.check_threads(threads or 1), progress)
    return fleet.run(jobs, threads, progress)


@runtime_checkable
class Shipped(Protocol):
    """A forecaster that needs something of its process, such as a store in the project's folder."""

    def shipped(self) -> Any:
        """Return a copy that works in another process."""
        ...


class Lost(TrainingError):
    """A job whose worker died again and again."""


def check_parallel(parallel: str | None) -> None:
    """Raise `UnknownName` unless work can be spread this way."""
    if parallel is not None and parallel not in PARALLEL:
        raise UnknownName(f"parallel was {parallel!r}. {did_you_mean(str(parallel), PARALLEL)}")


def _run_on_ray(jobs: Sequence[Job], threads: int, progress: Callable[[float], None] | None) -> list[Exception | None]:
    from ..native import isa

    ray = connected_ray()
    slots = max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
    n_chunks = min(len(jobs), CHUNKS_A_SLOT * slots)
    waiting = deque(list(range(k, len(jobs), n_chunks)) for k in range(n_chunks))
    shared = {id(job.bars): ray.put(job.bars) for job in {id(job.bars): job for job in jobs}.values()}
    task = ray.remote(num_cpus=threads, max_retries=RETRIES)(_work)
    errors: list[Exception | None] = [None] * len(jobs)
    running: dict[Any, list[int]] = {}
    done = 0
    try:
        while waiting or running:
            while waiting and len(running) < 2 * slots:
                chunk = waiting.popleft()
                told = [(jobs[i].fold, jobs[i].rows, _shipped(jobs[i].forecaster)) for i in chunk]
                running[task.remote([shared[id(jobs[i].bars)] for i in chunk], told, threads, isa)] = chunk
            ready, _ = ray.wait(list(running), num_returns=1, timeout=0.5)
            for reference in ready:
                chunk = running.pop(reference)
                found = _receive(ray, reference, [jobs[i] for i in chunk])
                if len(chunk) > 1 and any(isinstance(error, Lost) for error in found):
                    waiting.extend([i] for i in chunk)  # one of them kills its worker: the others go without it
                    continue
                for i, error in zip(chunk, found, strict=True):
                    errors[i] = error
                done += len(chunk)
            if progress:
                progress(done / len(jobs))
    except BaseException:  # Ctrl-C: nobody wants the rest
        for reference in running:
            ray.cancel(reference)
        raise
    return errors


def connected_ray() -> Any:
    """Return Ray, connected; it sends no usage statistics and starts no dashboard."""
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
    except ImportError as error:
        raise SetupError("parallel='ray' needs Ray: pip install 'longshort[ray]'.") from error
    if not ray.is_initialized():
        here = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False, "num_cpus": fleet.cores()}
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **here)
    return ray


def _shipped(forecaster: Any) -> Any:
    """Return a forecaster that finds what it needs from another process too."""
    return forecaster.shipped() if isinstance(forecaster, Shipped) else forecaster


def _work(references: list[Any], told: list[Any], threads: int, isa: str) -> tuple[list[Any], list[Any]]:
    """Run one chunk on a worker; return what each job left or what stopped it, and the trials counted meanwhile."""
    import ray

    from ..native import isa as here

    if here != isa:
        raise SetupError(f"This worker computes with {here}, the driver with {isa}. Set LONGSHORT_ISA={here} on both.")
    bars = dict(zip(references, ray.get(list(references)), strict=True))
    jobs = [Job(bars[r], *rest) for r, rest in zip(references, told, strict=True)]
    with tempfile.TemporaryDirectory() as scratch, ledger.project(scratch) as book, book.inside():
        errors = fleet.run(jobs, threads)
        facts = [dict(record.facts) for record in book.records(ledger.INNER)]
        trials = [(one, book.kept(one["scores"]) if "scores" in one else None) for one in facts]
    return [job.left if error is None else error for job, error in zip(jobs, errors, strict=True)], trials


def _receive(ray: Any, reference: Any, jobs: Sequence[Job]) -> list[Exception | None]:
    """Put what a chunk left into its jobs and count its trials; return what stopped each."""
    try:
        left, trials = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, Exception) else error
        return [cause] * len(jobs)
    except ray.exceptions.RayError as error:
        lost = Lost(
            f"The worker of this job was lost and {RETRIES} retries did not help: {str(error).splitlines()[0]} Look at "
            "its memory, or give every task more cores (threads=2) so that fewer run at once."
        )
        return [lost] * len(jobs)
    book = ledger.current()
    for facts, series in trials:
        if series is not None:
            book.keep(series)
        book.record_trial(**facts)
    errors: list[Exception | None] = []
    for job, one in zip(jobs, left, strict=True):
        errors.append(one if isinstance(one, Exception) else None)
        if not isinstance(one, Exception):
            job.left = one
    return errors
