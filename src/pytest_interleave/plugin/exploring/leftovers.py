"""What one run of a test leaves on pytest's objects, and would pile up in some hundred: taken back after each run."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

_MOST_FINALIZERS = 50


class Leftovers:
    """Remembers how an item was before its runs."""

    def __init__(self, item: pytest.Function) -> None:
        self._item: Any = item
        self._properties = len(item.user_properties)
        self._markers = len(item.own_markers)
        self._filters = list(warnings.filters)
        self._factory: Any = getattr(item.config, "_tmp_path_factory", None)
        self._folders: list[Path] = []
        definitions = [found[-1] for found in item._fixtureinfo.name2fixturedefs.values() if found]
        self._wider: list[Any] = [definition for definition in definitions if definition.scope != "function"]
        self._is_first = True

    def note_folders(self) -> None:
        """Note from now on the temporary folders that are made, so that ``clear`` can remove them."""
        factory = self._factory
        if factory is None or "mktemp" in vars(factory):
            return
        make = factory.mktemp

        def make_and_note(*args: Any, **kwargs: Any) -> Path:
            folder: Path = make(*args, **kwargs)
            self._folders.append(folder)
            return folder

        vars(factory)["mktemp"] = make_and_note  # it is frozen, as attrs and dataclasses understand it

    def forget_folders(self) -> None:
        """Undo ``note_folders``."""
        if self._factory is not None:
            vars(self._factory).pop("mktemp", None)

    def folder_of_test(self) -> Path | None:
        """Return the test's ``tmp_path``, before it is torn down."""
        definition = getattr(self._item._request, "_fixture_defs", {}).get("tmp_path")
        result = getattr(definition, "cached_result", None)
        return result[0] if result is not None and isinstance(result[0], Path) else None

    def clear(self, folder: Path | None) -> None:
        """Take back what the run left."""
        item = self._item
        del item.user_properties[self._properties :]
        del item.own_markers[self._markers :]
        item._report_sections.clear()
        if warnings.filters != self._filters:
            warnings.filters[:] = self._filters  # type: ignore[index]
            with warnings.catch_warnings():
                pass  # makes the interpreter forget what it decided under the test's filters
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        for definition in self._wider:
            if len(definition._finalizers) > _MOST_FINALIZERS:
                definition._finalizers[:] = [each for each in definition._finalizers if not _is_of_run(each)]
        # Of the first run, folders may belong to fixtures of wider scope.
        if not self._is_first:
            for other in self._folders:
                shutil.rmtree(other, ignore_errors=True)
        self._folders.clear()
        self._is_first = False


def _is_of_run(finalizer: Any) -> bool:
    """Whether this only ends a fixture of function scope, which is long over, before the one that it used."""
    definition = getattr(getattr(finalizer, "func", None), "__self__", None)
    return isinstance(definition, pytest.FixtureDef) and definition.scope == "function"
