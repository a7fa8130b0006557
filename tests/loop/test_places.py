"""Which lines are the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_interleave.loop.places import place
from pytest_interleave.origins import rank


def _write(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")


def test_what_an_installer_put_into_a_folder_on_the_path_is_not_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, "client/pool.py", "single.py", "service/views.py", "client-1.0.dist-info/RECORD")
    (tmp_path / "client-1.0.dist-info" / "RECORD").write_text("client/pool.py,sha256=x,1\nsingle.py,sha256=x,1\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert rank(str(tmp_path / "client/pool.py")) == 1
    assert rank(str(tmp_path / "single.py")) == 1
    assert rank(str(tmp_path / "service/views.py")) == 2


def test_a_folder_that_is_not_on_the_path_is_the_users(tmp_path: Path) -> None:
    _write(tmp_path, "client/pool.py", "client-1.0.dist-info/RECORD")
    (tmp_path / "client-1.0.dist-info" / "RECORD").write_text("client/pool.py,sha256=x,1\n")

    assert rank(str(tmp_path / "client/pool.py")) == 2


def test_equal_code_of_two_files_is_at_two_places() -> None:
    source = "def wait():\n    pass\n"
    one, other = (compile(source, file, "exec") for file in ("/app/store.py", "/app/helpers.py"))
    assert one == other

    assert [place(code, 2).file for code in (one, other)] == ["/app/store.py", "/app/helpers.py"]


def test_what_cython_has_compiled_elsewhere_is_not_the_users() -> None:
    assert rank("src/python/grpcio/grpc/_cython/_cygrpc/aio/server.pyx.pxi") == 1
    assert rank(str(Path.cwd() / "own.pyx")) == 2
