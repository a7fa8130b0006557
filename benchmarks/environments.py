"""A virtual environment for each neighbour, kept between runs in ``benchmarks/.venv-*``.

Plugins are compared in separate environments of one Python with the same pins (requirements-common.txt), because a
plugin costs something as soon as it is installed, and because two which explore cannot share a session.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError, UnmeasuredError
from benchmarks.interpreters import Interpreter

HERE = Path(__file__).parent
ROOT = HERE.parent


@dataclass(frozen=True)
class Environment:
    """What gets installed beside what: ``requirements-NAME.txt``, and for us the checkout itself."""

    name: str
    needs_python: str = "3.11"
    is_ours: bool = False
    replaced: tuple[str, ...] = ()
    """Pins that are installed afterwards, in place of those of the same packages."""
    file: str = ""
    """Whose requirements these are, where environments share them; else its own."""

    @property
    def requirements(self) -> Path:
        """The pins of this environment."""
        return HERE / f"requirements-{self.file or self.name}.txt"


def python_of(environment: Environment, interpreter: Interpreter) -> Path:
    """Return the environment's Python, after building it if its pins or the interpreter have changed."""
    if not interpreter.is_at_least(environment.needs_python):
        raise UnmeasuredError(f"{environment.name} needs Python {environment.needs_python} or newer")
    folder = HERE / f".venv-{interpreter.version}-{environment.name}"
    python = folder / "bin" / "python"
    stamp = folder / ".ready"
    wanted = _fingerprint(environment, interpreter)
    if not stamp.exists() or stamp.read_text() != wanted:
        _build(environment, interpreter, folder)
        stamp.write_text(wanted)
    return python


def _build(environment: Environment, interpreter: Interpreter, folder: Path) -> None:
    print(f"making {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    _call(str(interpreter.path), "-m", "venv", str(folder))
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install = [*pip, "-r", str(environment.requirements)]
    if environment.is_ours:
        install += ["--editable", str(ROOT)]
    _call(str(folder / "bin" / "python"), *install)
    if environment.replaced:
        _call(str(folder / "bin" / "python"), *pip, *environment.replaced)


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}".rstrip())


def _fingerprint(environment: Environment, interpreter: Interpreter) -> str:
    digest = hashlib.sha256(f"{interpreter.path} {interpreter.full_version} {environment.replaced}".encode())
    sources = _with_included(environment.requirements)
    if environment.is_ours:
        # An editable install sees the code of today, but the entry points and dependencies of the day it was made.
        sources.append(ROOT / "pyproject.toml")
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _with_included(requirements: Path) -> list[Path]:
    included = [line.split()[1] for line in requirements.read_text().splitlines() if line.startswith("-r ")]
    return [requirements, *(path for name in included for path in _with_included(HERE / name))]
