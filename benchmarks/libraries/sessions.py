"""A library's source, the environment for its tests, and a session of pytest over them."""

from __future__ import annotations

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
from benchmarks.interpreters import Interpreter
from benchmarks.libraries.pins import COMMON, Library

FOLDER = HERE / ".libraries"
STAND_INS = Path(__file__).parent / "stand_ins"
SESSION_SECONDS = 3_600


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


def unpacked(library: Library) -> Path:
    """Return the unpacked source of the library, after fetching it if it is not there."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "pytest.ini").touch()  # a library without settings must not find ours, in the folders above
    project = FOLDER / library.folder
    if not (project / "PKG-INFO").exists():
        _fetch(library, project)
    if library.package:
        shutil.rmtree(project / library.package, ignore_errors=True)
        shutil.copytree(STAND_INS / library.name, project, dirs_exist_ok=True)
    return project


def _fetch(library: Library, project: Path) -> None:
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
            return
    raise BenchmarkError(f"PyPI gave no source of {pin}")


def python_for(library: Library, project: Path, interpreter: Interpreter) -> Path:
    """Return the Python of the library's environment, which has this checkout in editable form."""
    folder = project / f".venv-{interpreter.version}"
    python = folder / "bin" / "python"
    packages = [*COMMON, *library.needs, *([] if library.package else [f"{library.name}=={library.version}"])]
    wanted = "\n".join([str(ROOT), (ROOT / "pyproject.toml").read_text(), *packages])
    stamp = folder / ".ready"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making {folder.relative_to(HERE)}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        _call(interpreter.path, "-m", "venv", folder)
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _call(*pip, *packages, "--editable", ROOT)
        stamp.write_text(wanted)
    return python


def run_session(library: Library, project: Path, python: Path, kind: str, *options: str) -> Session:
    """Run the library's tests; ``kind`` names the files that are kept of it."""
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


def name_in_xml(nodeid: str) -> str:
    """Return the name that pytest's XML gives to a test."""
    path, _, rest = nodeid.partition("::")
    before, bracket, parameters = rest.partition("[")
    return f"{path.removesuffix('.py').replace('/', '.')}.{before.replace('::', '.')}{bracket}{parameters}"


def _call(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}".rstrip())
