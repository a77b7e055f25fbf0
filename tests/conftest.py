"""What every test shares: real faces, the markers that make two speeds, and the budget of processor time."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from edgeface.datasets.packs import faces_root as find_faces

_FACES = Path(__file__).resolve().parents[2] / "shared" / "faces"
"""Beside a checkout: real annotated faces, where there are any."""
if _FACES.is_dir():
    os.environ.setdefault("EDGEFACE_FACES", str(_FACES))

# A busy machine must not fail a test by being slow, and two runs of the suite must try the same examples.
settings.register_profile("edgeface", deadline=None, max_examples=40, derandomize=True, database=None)
settings.load_profile("edgeface")

FIXTURE_MARKERS = {"tiny_files": "slow", "jax_env": "slow", "browser": "slow", "faces_root": "faces"}
"""A test that asks for the fixture has the marker; all others are marked where they stand."""
LONGEST_FIRST = (
    "tests/test_wheel",
    "tests/parity/test_variants",
    "tests/training/test_kill",
    "tests/training/test_distribution",
)

QUICK_CPU_S = 5.0
"""Processor time, its child processes' included, above which a test should be marked ``slow``: it is named."""
LIMIT_CPU_S = 20.0
"""Above which the session fails. Processor time varies by half on a busy machine, hence the distance."""


@pytest.hookimpl(tryfirst=True)  # ahead of the deselection by -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks by fixture; the longest tests first, so that no process waits at the end for another's."""
    for item in items:
        for name, marker in FIXTURE_MARKERS.items():
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(marker)

    def rank(item: pytest.Item) -> int:
        return next((i for i, name in enumerate(LONGEST_FIRST) if item.nodeid.startswith(name)), len(LONGEST_FIRST))

    items.sort(key=rank)


@pytest.fixture(scope="session")
def faces_root() -> Path:
    """The folder of real annotated faces; skips where there is none."""
    root = find_faces()
    if root is None:
        pytest.skip("no real faces here: EDGEFACE_FACES names no folder")
    return root


@pytest.fixture(scope="session")
def jax_env(tmp_path_factory) -> dict[str, str]:
    """Environment of a child process that trains on JAX: on the CPU, compiled quickly rather than well, and once for
    all children of a session."""
    root = Path(__file__).resolve().parents[1]
    return os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(root),
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.getbasetemp() / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def _cpu_s() -> float:
    """Processor time of this process and of the children that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


_STARTED = pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    item.stash[_STARTED] = _cpu_s()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    if call.when == "teardown":
        spent = _cpu_s() - item.stash[_STARTED]
        report.user_properties = [*report.user_properties, ("cpu_s", spent)]
    return report


class CpuBudget:
    """Adds up what the tests report; one stands in the process that prints the summary."""

    def __init__(self) -> None:
        self.by_folder: dict[str, float] = {}
        self.unmarked: list[tuple[float, str]] = []
        """Tests above `QUICK_CPU_S` without the marker."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "teardown":
            return
        spent = dict(report.user_properties).get("cpu_s", 0.0)
        parts = report.nodeid.split("::")[0].split("/")
        folder = "/".join(parts[:2])
        self.by_folder[folder] = self.by_folder.get(folder, 0.0) + spent
        if spent > QUICK_CPU_S and "slow" not in report.keywords:
            self.unmarked.append((spent, report.nodeid))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.OK and any(spent > LIMIT_CPU_S for spent, _ in self.unmarked):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        total = sum(self.by_folder.values())
        terminalreporter.section(f"processor time: {total:.0f} s")
        for folder, spent in sorted(self.by_folder.items(), key=lambda item: -item[1]):
            if spent > 1:
                terminalreporter.line(f"{spent:7.1f}  {folder}")
        for spent, name in sorted(self.unmarked, reverse=True):
            verdict = "ERROR" if spent > LIMIT_CPU_S else "note"
            terminalreporter.line(f"{verdict}: {name} took {spent:.1f} s of processor time and is not marked slow")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(CpuBudget(), "edgeface-cpu-budget")
