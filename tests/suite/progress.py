"""What a person sees of a parallel run: how many tests, how far it is, and about how long it still takes."""

import time
from collections.abc import Callable
from typing import Any

import pytest

LINES = 20
"""How many lines a whole run prints."""


def minutes(seconds: float) -> str:
    """Returns minutes and seconds, such as `2:05`."""
    return "{}:{:02}".format(*divmod(round(seconds), 60))


class Progress:
    """Counts the tests that have finished, and says now and then how far they are."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic):
        self.total, self.done, self.failed = total, 0, 0
        self._clock, self._started = clock, clock()

    def finish_test(self) -> str:
        """Counts one more test. Returns a line if this is one of twenty such moments, and nothing otherwise."""
        self.done += 1
        if self.done * LINES // self.total == (self.done - 1) * LINES // self.total:
            return ""
        passed, left = self._clock() - self._started, self.total - self.done
        line = f"{self.done / self.total:4.0%}  {minutes(passed)} so far"
        line += f", about {minutes(passed * left / self.done)} to go" if left else ""
        return line + (f", {self.failed} failed" if self.failed else "")


class ShowProgress:
    """Prints the progress of a run with xdist, instead of a dot for each test."""

    def __init__(self, config: pytest.Config):
        self._config = config
        self._progress = Progress(1)

    def _print(self, line: str) -> None:
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        reporter.ensure_newline()
        reporter.write_line(line)
        reporter.flush()

    def pytest_sessionstart(self) -> None:
        """Says that nothing is shown for a while."""
        self._print("Every process first reads all the tests.")

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Says how many tests there are, once the first process knows."""
        if self._progress.total != len(ids):
            self._progress = Progress(len(ids))
            self._print(f"{len(ids)} tests")

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """Prints nothing for a test that passes."""
        return ("passed", "", "") if report.passed and report.when == "call" else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Names a test that failed at once."""
        if report.failed:
            self._progress.failed += 1
            self._print(f"FAILED {report.nodeid}")

    def pytest_runtest_logfinish(self) -> None:
        """Prints a line where it is time for one."""
        if line := self._progress.finish_test():
            self._print(line)
