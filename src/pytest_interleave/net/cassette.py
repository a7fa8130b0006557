"""Cassettes of vcrpy, for those who come from there: they are replayed, and never written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from pytest_interleave.errors import RecordingError
from pytest_interleave.net import har
from pytest_interleave.net.har import Answer, Exchange, Headers, Request


def is_cassette(path: Path) -> bool:
    """Whether a file of that name is one."""
    return path.suffix in (".yaml", ".yml")


def read(path: Path) -> tuple[Exchange, ...]:
    """Return the exchanges. Raise ``RecordingError`` with one line if there are none to be read."""
    try:
        yaml: Any = import_module("yaml")
    except ImportError:
        raise RecordingError(f"{path} is a cassette, which is read by PyYAML: pip install pyyaml") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a cassette may have megabytes
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
        interactions = document.get("interactions") if isinstance(document, dict) else None
        if not isinstance(interactions, list):
            raise RecordingError(f"{path} is no cassette: it has no interactions")
        return tuple(_parse(interaction) for interaction in interactions)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise RecordingError(f"{path} is no cassette: {type(error).__name__}: {reason}") from None


def _parse(interaction: Any) -> Exchange:
    request, response = interaction["request"], interaction["response"]
    headers = _headers(response.get("headers"))
    status = response.get("status") or {"code": response.get("status_code")}
    body = response.get("body")
    body = _bytes(body.get("string") if isinstance(body, dict) else response.get("content", body))
    encoding = har.find_header(headers, "content-encoding").strip().lower()
    plain = har.decompress(body, encoding)
    if plain is None and (har.is_text(body) or encoding in har.DECODED):
        plain = body  # some clients had decoded it before it was recorded
    return Exchange(
        Request(
            request["method"].upper(),
            har.check_url(request["uri"]),
            _headers(request.get("headers")),
            _bytes(request.get("body")),
        ),
        Answer(
            int(status["code"]),
            str(status.get("message") or ""),
            headers,
            body if plain is None else plain,
            is_encoded=plain is None,
        ),
    )


def _headers(headers: Any) -> Headers:
    return tuple((name, str(value)) for name, values in (headers or {}).items() for value in _each(values))


def _each(values: Any) -> Iterable[Any]:
    return values if isinstance(values, list | tuple) else (values,)


def _bytes(body: Any) -> bytes:
    if isinstance(body, dict | list):  # what aiohttp's client was given as json= or data=, it is not said which
        return json.dumps(body).encode()
    return bytes(body) if isinstance(body, bytes | bytearray) else str(body or "").encode()
