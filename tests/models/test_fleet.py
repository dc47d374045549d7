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


class Tree(Steps):
    """Waits for its children, then takes its own steps."""

    def __init__(self, *children, n=1):
        super().__init__(n)
        self.children, self.seen = children, []

    def parts(self):
        return [child for child in self.children if child.taken < child.n]

    def step(self):
        self.seen.append([child.taken for child in self.children])
        return super().step()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_task_goes_on_when_all_its_parts_are_done(threads):
    inner = Tree(Steps(2), Steps(3))
    trees = [Tree(Steps(4), inner, Steps(1)), Tree(Steps(2), n=2), Steps(3)]
    assert fleet.run(trees, threads) == [None] * 3
    assert inner.seen == [[2, 3]]
    assert trees[0].seen == [[4, 1, 1]]
    assert trees[1].seen == [[2], [2]]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_failed_part_stops_its_task_and_no_other(threads):
    broken, sound = Tree(Steps(3), Steps(9, fail_at=2), Steps(4)), Tree(Steps(3), Steps(2))
    failures = fleet.run([broken, sound], threads)
    assert [type(f) for f in failures] == [ValueError, type(None)]
    assert broken.taken == 0
    assert sound.taken == 1


def test_parts_run_at_the_same_time():
    meeting = threading.Barrier(2, timeout=10)

    class Meets(Steps):
        def step(self):
            meeting.wait()
            return super().step()

    assert fleet.run([Tree(Meets(1), Meets(1))], threads=2) == [None]


def test_a_fit_inside_a_fleet_may_run_a_fleet_of_its_own():
    class Nested(Steps):
        def step(self):
            assert fleet.run([Steps(2), Steps(3)], threads=2) == [None, None]
            return super().step()

    assert fleet.run([Nested(1), Nested(1), Nested(2)], threads=2) == [None] * 3
