import threading

import pytest

from longshort.errors import InputError
from longshort.models import fleet


class Steps:
    def __init__(self, n, fail_at=None):
        self.n, self.fail_at, self.taken, self.threads = n, fail_at, 0, set()

    fraction = 0.5

    def step(self):
        self.taken += 1
        self.threads.add(threading.get_ident())
        if self.taken == self.fail_at:
            raise ValueError(f"failed at {self.taken}")
        return self.taken >= self.n


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_task_is_stepped_to_its_end(threads):
    tasks = [Steps(n) for n in (3, 1, 7, 2)]
    assert fleet.run(tasks, threads) == [None] * 4
    assert [t.taken for t in tasks] == [3, 1, 7, 2]


def test_a_failure_stops_its_own_task_only():
    tasks = [Steps(3), Steps(5, fail_at=2), Steps(4)]
    failures = fleet.run(tasks, threads=2)
    assert [type(f) for f in failures] == [type(None), ValueError, type(None)]
    assert [t.taken for t in tasks] == [3, 2, 4]


def test_interrupt_lets_workers_finish_their_step_and_is_passed_on():
    class Endless(Steps):
        def step(self):
            super().step()
            return False

    tasks = [Endless(0), Endless(0)]

    def interrupt(fraction):
        assert fraction == 0.5
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fleet.run(tasks, threads=2, progress=interrupt)
    taken = [t.taken for t in tasks]
    assert fleet.run([Steps(2)], threads=2) == [None]  # the pool is free again
    assert [t.taken for t in tasks] == taken


def test_progress_ends_at_one():
    seen = []
    fleet.run([Steps(2)], threads=1, progress=seen.append)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_must_be_a_whole_positive_number(threads):
    with pytest.raises(InputError, match="threads must be a whole number"):
        fleet.run([Steps(1)], threads)
