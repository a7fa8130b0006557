"""Find the Pythons to measure on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError

# The real path: a virtual environment's Python and the one it was made from are the same interpreter.
ASK_VERSION = "import os, platform, sys; print(os.path.realpath(sys.executable), platform.python_version())"

OLDEST = "3.11"


@dataclass(frozen=True)
class Interpreter:
    """A Python that was started once and told its version."""

    path: Path
    full_version: str

    @property
    def version(self) -> str:
        """The version as people say it, such as ``3.11``."""
        return ".".join(self.full_version.split(".")[:2])

    def is_at_least(self, version: str) -> bool:
        """Tell whether this is ``version`` ("3.12") or a later one."""
        return _as_numbers(self.version) >= _as_numbers(version)


def find_interpreter(wanted: str) -> Interpreter:
    """Return the Python called ``wanted``: a version such as ``3.11``, or a path."""
    for candidate in _candidates(wanted):
        found = _ask(candidate)
        if found is None or (os.sep not in wanted and found.version != wanted):
            continue
        if not found.is_at_least(OLDEST):
            raise BenchmarkError(
                f"{found.path} is Python {found.full_version}; pytest-interleave needs {OLDEST} or newer"
            )
        return found
    raise BenchmarkError(f"No Python {wanted} here. Try: --python 3.13, or --python /path/to/python")


def _candidates(wanted: str) -> Iterator[str]:
    if os.sep in wanted:
        yield wanted
        return
    yield sys.executable
    on_path = shutil.which(f"python{wanted}")
    if on_path:
        yield on_path
    # pyenv's shims answer only for the versions switched on in this folder: look at what is installed.
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for installed in sorted(pyenv.glob(f"versions/{wanted}.*/bin/python"), reverse=True):
        yield str(installed)


def _ask(candidate: str) -> Interpreter | None:
    try:
        answer = subprocess.run([candidate, "-c", ASK_VERSION], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    path, full_version = answer.stdout.rsplit(maxsplit=1)
    return Interpreter(Path(path), full_version)


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
