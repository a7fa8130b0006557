"""A request as a mock route wants it, and what of one that came is otherwise."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pytest_interleave.net.calls import Call, query_text, shorten, show_difference

#: Stands for "not said", where None is a value (JSON has null).
ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "absent"})()
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)

Query = str | Mapping[str, object] | Iterable[tuple[str, object]]


class Wanted:
    """What a request must be to get the answers of a route."""

    def __init__(
        self,
        method: str,
        path: str | re.Pattern[str],
        *,
        query: Query | None,
        headers: Mapping[str, object] | None,
        json: Any,
        body: bytes | str | None,
    ) -> None:
        self.method = method.upper()
        if isinstance(path, str):
            path, mark, inline = path.partition("?")
            if mark and query is not None:
                raise ValueError(f"{path}?{inline} has a query already: leave out query=")
            if not path.startswith("/"):
                raise ValueError(f"the path {path!r} begins with no slash; the host is that of routes()")
            if mark:
                query = inline
        self.path = path
        self._pattern = path if isinstance(path, re.Pattern) else _compile(path)
        self._query = None if query is None else sorted(_pairs_of(query))
        self._headers = [(name, str(value)) for name, value in (headers or {}).items()]
        self._json = json
        self._body = body.encode() if isinstance(body, str) else body

    def mismatches(self, call: Call) -> list[str]:
        """Return what of the request is not as it is wanted, a line each."""
        found = []
        if self.method not in ("*", call.method):
            found.append(f"method: {self.method} is wanted, {call.method} came")
        if self._match(call) is None:
            path = self.path if isinstance(self.path, str) else self.path.pattern
            found.append(f"path: {path} is wanted, {call.path} came")
        if self._query is not None and self._query != sorted(call.query):
            found.append(f"query: {query_text(self._query)} is wanted, {query_text(call.query)} came")
        for name, value in self._headers:
            came = [actual for key, actual in call.headers.items() if key.lower() == name.lower()]
            if value not in came:
                found.append(f"header {name}: {value!r} is wanted, {' and '.join(map(repr, came)) or 'none'} came")
        if self._json is not ABSENT:
            found += self._mismatches_of_json(call)
        if self._body is not None and self._body != call.body:
            found.append(f"body: {shorten(repr(self._body))} is wanted, {shorten(repr(call.body))} came")
        return found

    def _mismatches_of_json(self, call: Call) -> list[str]:
        wanted = json_module.dumps(self._json, default=repr)
        came = call.text
        try:
            if call.json() == self._json:
                return []
            wanted, came = show_difference(wanted, came)
        except ValueError:
            pass
        return [f"JSON: {shorten(wanted)} is wanted, {shorten(came) or 'nothing'} came"]

    def parameters(self, call: Call) -> dict[str, Any]:
        """Return what the path has at the placeholders."""
        match = self._match(call)
        if match is None or isinstance(self.path, re.Pattern):
            return {} if match is None else match.groupdict()
        return {name: _ENCODED_SLASH.sub("/", value) for name, value in match.groupdict().items()}

    def _match(self, call: Call) -> re.Match[str] | None:
        if isinstance(self.path, re.Pattern):
            return self._pattern.fullmatch(call.path)
        return self._pattern.fullmatch(_decode(urlsplit(call.url).path))

    def __str__(self) -> str:
        path = self.path if isinstance(self.path, str) else f"/{self.path.pattern}/"
        query = "" if self._query is None else f"?{'&'.join(f'{name}={value}' for name, value in self._query)}"
        return f"{self.method} {path}{query}"


def _decode(path: str) -> str:
    """Return the path in plain, but for slashes that part nothing: ``/files/a%2Fb`` has two parts."""
    return "%2F".join(map(unquote, _ENCODED_SLASH.split(path)))


def _compile(path: str) -> re.Pattern[str]:
    """Return what matches a path with placeholders, each of which stands for one part of it."""
    if re.search(r"\{\w+:", path):
        raise ValueError(f"{path!r}: a placeholder is a name, as {{id}}; for more, give a compiled regular expression")
    pieces = _PLACEHOLDER.split(path)
    return re.compile(
        "".join(
            f"(?P<{piece}>[^/]+)" if number % 2 else re.escape(_decode(piece)) for number, piece in enumerate(pieces)
        )
    )


def _pairs_of(query: Query) -> list[tuple[str, str]]:
    """Return a query's parameters; a list is one parameter several times."""
    if isinstance(query, str):
        return parse_qsl(query, keep_blank_values=True)
    pairs = query.items() if isinstance(query, Mapping) else query
    return [
        (str(name), str(value).lower() if isinstance(value, bool) else str(value))
        for name, values in pairs
        for value in (values if isinstance(values, list | tuple) else (values,))
    ]
