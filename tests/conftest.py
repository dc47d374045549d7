"""What all tests share: `--no-skips` for the run that must leave nothing out."""

import re

import pytest

ALLOWED_SKIPS = re.compile(  # what one machine cannot have, or an environment of pinned versions beside it
    "needs (Windows|macOS|AVX-512|arm64|CUDA|PostgreSQL|neuralforecast|darts)|LONGSHORT_SHARED_DATA"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail when a test is skipped for a reason we can mend")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_skips] = []


@pytest.fixture(autouse=True)
def _a_ledger_of_its_own():
    """What a test tries is no trial of the next one, and seals no rows for it."""
    from longshort import ledger

    with ledger.aside():
        yield


_skips = pytest.StashKey[list[str]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not ALLOWED_SKIPS.search(reason):
            item.config.stash[_skips].append(f"{item.nodeid}: {reason}")
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if session.config.getoption("--no-skips") and session.config.stash[_skips] and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    if config.getoption("--no-skips") and config.stash[_skips]:
        terminalreporter.section("skipped, but nothing may be skipped in this run")
        for line in config.stash[_skips]:
            terminalreporter.write_line(line)
