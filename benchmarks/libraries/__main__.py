"""The command: ``python -m benchmarks.libraries [NAME …]`` runs libraries' own tests with this checkout.

Each library's source distribution is unpacked, and installed into an environment of its own, below
``benchmarks/.libraries``. Its tests are run as they are, once plainly and once with ``--interleave``. A test counts as
a find when it passes plainly and fails when explored; what was found out about it stands in `pins.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.children import FOREIGN_VARIABLES
from benchmarks.environments import HERE, ROOT
from benchmarks.errors import BenchmarkError
from benchmarks.interpreters import Interpreter, find_interpreter
from benchmarks.libraries.pins import COMMON, LIBRARIES, Library

FOLDER = HERE / ".libraries"
SESSION_SECONDS = 3_600
UNJUDGED = "not judged yet"


@dataclass(frozen=True)
class Session:
    """One session of pytest over a library's tests."""

    status: int | None
    """Pytest's exit status; None: it did not end."""
    seconds: float
    outcomes: dict[str, str]
    explored: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Tell whether the session ended by itself, without an error of pytest's or ours."""
        return self.status in (0, 1) and bool(self.outcomes)

    def failed(self) -> set[str]:
        """Return the tests that failed or could not be set up."""
        return {name for name, outcome in self.outcomes.items() if outcome == "failed"}


def main() -> int:
    """Run the sessions that were asked for and print what came of them."""
    options = _parse()
    chosen = [library for library in LIBRARIES if not options.names or library.name in options.names]
    is_good = True
    try:
        interpreter = find_interpreter(options.python)
        print(_line("library", "tests", "failed plainly", "explored", "runs", "finds", "notes", "seconds"))
        print(_line("---", *["---:"] * 7), flush=True)
        for library in chosen:
            is_good &= _try(library, interpreter, options)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if is_good else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.libraries", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(each.name for each in LIBRARIES)}")
    parser.add_argument("--plain", action="store_true", help="only the plain sessions: what do the detectors say?")
    parser.add_argument("--runs", metavar="N", help="N runs a test (default: 200, or as many as a second allows)")
    parser.add_argument("--seed", default="1", help="of the search (default 1)")
    parser.add_argument("--python", default="3.11", help="a version such as 3.13, or a path")
    options = parser.parse_args()
    unknown = set(options.names) - {library.name for library in LIBRARIES}
    if unknown:
        parser.error(f"no library {', '.join(sorted(unknown))}")
    return options


def _try(library: Library, interpreter: Interpreter, options: argparse.Namespace) -> bool:
    """Print the row of a library and what its tests said; return whether nothing is left to look at."""
    project = _project(library)
    python = _environment(library, project, interpreter)
    plain = _session(library, project, python, "plain")
    if options.plain:
        print(_line(library.folder, len(plain.outcomes), len(plain.failed()), "", "", "", "", f"{plain.seconds:.0f}"))
        for name in sorted(plain.failed()):
            print(f"    {name}")
        return _is_whole(plain, project, "plain")
    exploring = _session(
        library,
        project,
        python,
        "explored",
        *("--interleave", f"--interleave-seed={options.seed}"),
        *([f"--interleave-runs={options.runs}"] if options.runs else []),
    )
    tests = [record for record in exploring.explored if record.get("verdict") not in (None, "not explored")]
    finds = sorted(exploring.failed() - plain.failed())
    print(
        _line(
            library.folder,
            len(plain.outcomes),
            len(plain.failed()),
            len(tests),
            f"{sum(record['runs'] for record in tests):,}",
            len(finds),
            sum(record["label"] == "order-only" for record in tests),
            f"{plain.seconds:.0f} + {exploring.seconds:.0f}",
        )
    )
    records = {_key(record["nodeid"]): record for record in exploring.explored}
    verdicts = [(name, _judgement(library, name)) for name in finds]
    for name, judgement in verdicts:
        record = records.get(name, {})
        print(f"    {name}\n      {record.get('label')}: {record.get('sentence')}\n      → {judgement}")
    sys.stdout.flush()
    ended = _is_whole(plain, project, "plain") and _is_whole(exploring, project, "explored")
    return ended and all(judgement != UNJUDGED for _, judgement in verdicts)


def _judgement(library: Library, name: str) -> str:
    return next((why for known, why in library.judged.items() if name.startswith(known)), UNJUDGED)


def _is_whole(session: Session, project: Path, kind: str) -> bool:
    if not session.is_whole:
        print(f"    the {kind} session did not end well (status {session.status}): see {project / kind}.txt")
    return session.is_whole


def _line(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


# -- the parts of a session ------------------------------------------------------------------------------------------


def _project(library: Library) -> Path:
    """Return the unpacked source of the library, after fetching it if it is not there."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "pytest.ini").touch()  # a library without settings must not find ours, in the folders above
    project = FOLDER / library.folder
    if (project / "PKG-INFO").exists():
        return project
    print(f"fetching {library.folder}", file=sys.stderr, flush=True)
    download = FOLDER / "downloads"
    pin = f"{library.name}=={library.version}"
    _call(
        sys.executable, "-m", "pip", "download", "-q", "--no-deps", f"--no-binary={library.name}", "-d", download, pin
    )
    wanted = library.folder.replace("-", "_").lower()
    for archive in download.glob("*.tar.gz"):
        if archive.name.removesuffix(".tar.gz").replace("-", "_").lower() == wanted:
            with tarfile.open(archive) as packed:
                packed.extractall(FOLDER, filter="data")
                (FOLDER / packed.getnames()[0].split("/")[0]).rename(project.with_suffix(".new"))
            project.with_suffix(".new").rename(project)
            return project
    raise BenchmarkError(f"PyPI gave no source of {pin}")


def _environment(library: Library, project: Path, interpreter: Interpreter) -> Path:
    """Return the Python of the library's environment, which has this checkout in editable form."""
    folder = project / f".venv-{interpreter.version}"
    python = folder / "bin" / "python"
    wanted = "\n".join([str(ROOT), (ROOT / "pyproject.toml").read_text(), *COMMON, *library.needs])
    stamp = folder / ".ready"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making {folder.relative_to(HERE)}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        _call(interpreter.path, "-m", "venv", folder)
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _call(*pip, f"{library.name}=={library.version}", *COMMON, *library.needs, "--editable", ROOT)
        stamp.write_text(wanted)
    return python


def _session(library: Library, project: Path, python: Path, kind: str, *options: str) -> Session:
    xml, found, output = (project / f"{kind}{suffix}" for suffix in (".xml", ".json", ".txt"))
    for old in (xml, found):
        old.unlink(missing_ok=True)
    command = [
        str(python),
        "-m",
        "pytest",
        *library.tests,
        "-q",
        f"--rootdir={project}",
        "-o",
        "addopts=",
        "-p",
        "no:cacheprovider",
    ]
    command += [
        f"--junitxml={xml}",
        "-o",
        "junit_family=xunit2",
        f"--interleave-json={found}",
        *library.options,
        *options,
    ]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_VARIABLES)}
    started = time.monotonic()
    with output.open("w") as file:
        try:
            status: int | None = subprocess.run(
                command,
                cwd=project,
                env=inherited | {"PYTHONHASHSEED": "0"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=SESSION_SECONDS,
            ).returncode
        except subprocess.TimeoutExpired:
            status = None
    explored = json.loads(found.read_text())["tests"] if found.exists() else []
    return Session(status, time.monotonic() - started, _outcomes(xml), explored)


def _outcomes(xml: Path) -> dict[str, str]:
    """Return what became of each test."""
    found: dict[str, str] = {}
    if not xml.exists():
        return found
    for case in ElementTree.parse(xml).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        parts = {part.tag for part in case}
        is_failed = bool(parts & {"failure", "error"}) or found.get(name) == "failed"
        found[name] = "failed" if is_failed else "skipped" if "skipped" in parts else "passed"
    return found


def _key(nodeid: str) -> str:
    """Return the name that pytest's XML gives to a test."""
    path, _, rest = nodeid.partition("::")
    before, bracket, parameters = rest.partition("[")
    return f"{path.removesuffix('.py').replace('/', '.')}.{before.replace('::', '.')}{bracket}{parameters}"


def _call(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
