"""What an async test costs before it does anything, beside an empty sync test under plain pytest."""

from __future__ import annotations

import contextlib
import itertools
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import children
from benchmarks.environments import Environment, python_of
from benchmarks.errors import UnmeasuredError
from benchmarks.interpreters import Interpreter
from benchmarks.projects import Project
from benchmarks.registry import Benchmark, Effort
from benchmarks.rounds import Readings, Series, measure
from benchmarks.tables import Table, at_most

PLAIN = "plain pytest"
OURS = "ours"

SYNC_RESOURCE = """\
import pytest

@pytest.fixture
def resource():
    yield 1
"""
THREE_ARGUMENTS = ("alpha", "beta", "gamma")
THREE_FIXTURES = "import pytest\n" + "".join(
    f"\n@pytest.fixture\ndef {name}():\n    return 1\n" for name in THREE_ARGUMENTS
)


def asyncio_ini(scope: str) -> dict[str, str]:
    """Return what a pytest-asyncio user writes for auto mode with one loop a ``scope``."""
    return {
        "asyncio_mode": "auto",
        "asyncio_default_fixture_loop_scope": scope,
        "asyncio_default_test_loop_scope": scope,
    }


def asyncio_conftest(scope: str) -> str:
    """Return nothing: the ini says it all."""
    return ""


def anyio_ini(scope: str) -> dict[str, str]:
    """Return what an anyio user writes for auto mode."""
    return {"anyio_mode": "auto"}


def anyio_conftest(scope: str) -> str:
    """Choose asyncio alone and, for a loop that outlives the test, hold it with a fixture as anyio's docs advise."""
    backend = "import pytest\n\n@pytest.fixture(scope='session')\ndef anyio_backend():\n    return 'asyncio'\n"
    if scope == "function":
        return backend
    keep_loop = f"@pytest.fixture(scope='{scope}', autouse=True)\nasync def keep_loop(anyio_backend):\n    yield\n"
    return f"{backend}\n{keep_loop}"


@dataclass(frozen=True)
class Contestant:
    """A plugin, and how its users ask for a loop scope."""

    column: str
    environment: Environment
    ini: Callable[[str], dict[str, str]]
    conftest: Callable[[str], str]


CONTESTANTS = (
    Contestant("pytest-asyncio 1.5.0", Environment("pytest-asyncio"), asyncio_ini, asyncio_conftest),
    Contestant("anyio 4.16.0", Environment("anyio"), anyio_ini, anyio_conftest),
    Contestant(OURS, Environment("pytest-interleave", is_ours=True), asyncio_ini, asyncio_conftest),
)

PROJECTS = ("sync", "function", "fixture", "module", "session", "collection")
Key = tuple[str, str]
"""Column and project."""


def run(interpreter: Interpreter, effort: Effort) -> Table:
    """Measure every plugin on every project, and turn the readings into the table of the runner's issue."""
    tests, collected = (1_000, 2_000) if effort.is_quick else (2_000, 10_000)
    with tempfile.TemporaryDirectory(prefix="benchmark-runner-") as root:
        folders = [Path(root, "x" * number) for number in range(1, effort.rounds + 1)]
        subjects = _plain_subjects(interpreter, folders, tests, collected)
        for contestant in CONTESTANTS:
            subjects |= _subjects(contestant, interpreter, folders, tests, collected)
        # By project, so that the plugins in a row are measured next to each other.
        turns = dict(sorted(subjects.items(), key=lambda subject: PROJECTS.index(subject[0][1])))
        readings = measure(turns, rounds=effort.rounds, name="runner")
    return _table(readings, tests, collected)


def _plain_subjects(
    interpreter: Interpreter, folders: list[Path], tests: int, collected: int
) -> dict[Key, Callable[[], float]]:
    projects = {
        "sync": Project(tests, is_async=False),
        "fixture": Project(tests, is_async=False, arguments=("resource",), conftest=SYNC_RESOURCE),
        "collection": Project(collected, is_async=False, arguments=THREE_ARGUMENTS, conftest=THREE_FIXTURES),
    }
    return _subjects_of(PLAIN, Environment("pytest"), projects, interpreter, folders)


def _subjects(
    contestant: Contestant, interpreter: Interpreter, folders: list[Path], tests: int, collected: int
) -> dict[Key, Callable[[], float]]:
    ini, conftest = contestant.ini, contestant.conftest
    function_ini, function_conftest = ini("function"), conftest("function")
    async_resource = "import pytest\n\n@pytest.fixture\nasync def resource():\n    yield 1\n"
    projects = {"sync": Project(tests, is_async=False, ini=function_ini)}
    for scope in ("function", "module", "session"):
        projects[scope] = Project(tests, is_async=True, ini=ini(scope), conftest=conftest(scope))
    projects["fixture"] = Project(
        tests, is_async=True, arguments=("resource",), ini=function_ini, conftest=function_conftest + async_resource
    )
    projects["collection"] = Project(
        collected,
        is_async=True,
        arguments=THREE_ARGUMENTS,
        ini=function_ini,
        conftest=function_conftest + THREE_FIXTURES,
    )
    return _subjects_of(contestant.column, contestant.environment, projects, interpreter, folders)


def _subjects_of(
    column: str, environment: Environment, projects: dict[str, Project], interpreter: Interpreter, folders: list[Path]
) -> dict[Key, Callable[[], float]]:
    """Return what measures each project, in another folder each round.

    One project in two folders differs by 3 to 6 %, for longer names move what is in memory: no figure may hang on that.
    """
    python = python_of(environment, interpreter)
    subjects: dict[Key, Callable[[], float]] = {}
    for name, project in projects.items():
        places = [folder / environment.name / name for folder in folders]
        for place in places:
            project.write_to(place)
            with contextlib.suppress(UnmeasuredError):  # it will fail again, and be told of, when it is measured
                _pytest(python, place, "-qq", "--collect-only")  # compiles the tests
        measured = [places[0], *places]  # the first once more, to warm up
        measured_by = _collect if name == "collection" else _run
        subjects[column, name] = partial(measured_by, python, itertools.cycle(measured), project)
    return subjects


def _collect(python: Path, folders: Iterator[Path], project: Project) -> float:
    """Return the CPU seconds of a session that only collects."""
    # -qq prints a line a file ("test_00.py: 100"); -q would print a line a test, which a run does not.
    finished = _pytest(python, next(folders), "-qq", "--collect-only")
    counts = re.findall(r"^test_\d+\.py: (\d+)$", finished.output, re.MULTILINE)
    if sum(map(int, counts)) != project.tests:
        raise UnmeasuredError(f"collected {sum(map(int, counts)):,} tests of {project.tests:,}")
    return finished.cpu_seconds


def _run(python: Path, folders: Iterator[Path], project: Project) -> float:
    return project.cost_of_a_test(_pytest(python, next(folders), "-q"))


def _pytest(python: Path, folder: Path, *arguments: str) -> children.Finished:
    return children.run([python, "-m", "pytest", "-p", "no:cacheprovider", *arguments], cwd=folder)


def _table(readings: Readings[Key], tests: int, collected: int) -> Table:
    def per_test(column: str, project: str) -> Series:
        return readings[column, project].least() * 1e6

    def ratio(column: str, project: str) -> Series:
        return per_test(column, project) / per_test(PLAIN, "sync")

    def added(column: str, without: str) -> Series:
        return per_test(column, "fixture") - per_test(column, without)

    def collection(column: str) -> Series:
        return readings[column, "collection"] / readings[PLAIN, "collection"]

    plugins = [contestant.column for contestant in CONTESTANTS]
    table = Table(f"runner: {tests:,} empty tests in 20 files", [PLAIN, *plugins], OURS)
    table.add("empty sync test", "µs", {PLAIN: lambda: per_test(PLAIN, "sync")}, decimals=0)
    for scope, bound in (("function", 1.30), ("module", 1.15), ("session", 1.15)):
        figures = {column: partial(ratio, column, scope) for column in plugins}
        table.add(f"empty async test, {scope} loop", "x sync", figures, target=at_most(bound))
    table.add(
        "yield fixture, added per test (plain: a sync one)",
        "µs",
        {PLAIN: lambda: added(PLAIN, "sync"), **{column: partial(added, column, "function") for column in plugins}},
        target=at_most(60),
        decimals=0,
    )
    figures = {column: partial(ratio, column, "sync") for column in plugins}
    table.add("sync test with the plugin installed", "x plain", figures, target=at_most(1.02), decimals=3)
    table.add(
        f"collecting {collected:,} async tests, 3 fixture arguments",
        "x plain",
        {column: partial(collection, column) for column in plugins},
        target=at_most(1.05),
    )
    return table


BENCHMARK = Benchmark("runner", "what an async test costs before it does anything", run)
