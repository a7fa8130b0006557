"""Recorded exchanges, and the HAR file (HTTP Archive 1.2) that holds them, which browsers write and show as well."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import gzip
import json
import os
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

from pytest_interleave.errors import RecordingError

Headers: TypeAlias = tuple[tuple[str, str], ...]

#: Of the way that an answer took, and not of the answer.
OF_THE_CONNECTION = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: HAR has no place for bytes in what was sent, for bodies in an encoding that we do not know, and for streams.
_ENCODING_KEY = "_encoding"
_IS_ENCODED_KEY = "_encoded"
_PIECES_KEY = "_pieces"
_UNFINISHED_KEY = "_unfinished"
_CREATOR = {"name": "pytest-interleave", "version": "1"}


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What was answered."""

    status: int
    reason: str = ""
    headers: Headers = ()
    body: bytes = b""
    #: Whether the body is in the encoding that its headers name, and not in plain.
    is_encoded: bool = False
    #: Whether the body is there: browsers keep some of them only.
    is_complete: bool = True
    #: Of a body that came in several: the seconds since the headers, and how many bytes.
    pieces: tuple[tuple[float, int], ...] = ()
    #: Whether the stream came to its end before its client had gone.
    is_finished: bool = True


@dataclass(frozen=True)
class Exchange:
    """A request and its answer."""

    request: Request
    answer: Answer
    #: In ISO 8601.
    started: str = ""
    #: From the request to the first byte of the answer, and from there to the last.
    wait_seconds: float = 0.0
    receive_seconds: float = 0.0


# -- the file ----------------------------------------------------------------------------------------------------


def read(path: Path) -> tuple[Exchange, ...]:
    """Return the exchanges of a file that have an answer. Raise ``RecordingError`` with one line if it is none."""
    entries = enumerate(_entries(_load(path), path), 1)
    return tuple(one for number, entry in entries if (one := _parse(entry, path, number)) is not None)


@dataclass(frozen=True)
class Recorded:
    """A new exchange, what says whether it is the same as another, and how many such came before it in its test."""

    exchange: Exchange
    key: Hashable
    number: int


def write(
    path: Path, recorded: Iterable[Recorded], key_of: Callable[[Exchange], Hashable], *, are_replaced: bool
) -> int:
    """Put these exchanges into the file, in the places that their numbers give them among those of their key.

    Returns how many it put. A place that is taken is left alone, unless ``are_replaced``. Whoever reads the file finds
    it whole, and several processes may write at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        document = _load(path) if path.exists() else {"log": {"version": "1.2", "creator": _CREATOR, "entries": []}}
        entries = _entries(document, path)
        places: dict[Hashable, list[int]] = {}
        for index, entry in enumerate(entries):
            exchange = _parse(entry, path, index + 1)
            if exchange is not None:
                places.setdefault(key_of(exchange), []).append(index)
        count = 0
        for one in recorded:
            taken = places.setdefault(one.key, [])
            if one.number >= len(taken):
                taken.append(len(entries))
                entries.append(_render(one.exchange))
            elif are_replaced:
                entries[taken[one.number]] = _render(one.exchange)
            else:
                continue  # another process was quicker
            count += 1
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    return count


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time go on; the folder bears the lock, so that no file is left behind for it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # some browsers begin with a mark
    except ValueError as error:
        raise RecordingError(f"{path} is no HAR file: {error}") from None


def _entries(document: Any, path: Path) -> list[Any]:
    try:
        entries = document["log"]["entries"]
    except (TypeError, KeyError):
        entries = None
    if not isinstance(entries, list):
        raise RecordingError(f"{path} is no HAR file: it has no log.entries")
    return entries


# -- an entry, from JSON -----------------------------------------------------------------------------------------


def _parse(entry: Any, path: Path, number: int) -> Exchange | None:
    """Return the exchange; None if there was no answer, or one that is no answer to a request (a WebSocket)."""
    try:
        status = int(entry["response"]["status"])
        if status < 200:
            return None
        timings = entry.get("timings") or {}
        receive = _milliseconds(timings.get("receive"))
        wait = _milliseconds(timings.get("wait")) or max(0.0, _milliseconds(entry.get("time")) - receive)
        return Exchange(
            _parse_request(entry["request"]),
            _parse_answer(entry["response"], status),
            str(entry.get("startedDateTime", "")),
            wait / 1000,
            receive / 1000,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordingError(f"{path} is no HAR file: {type(error).__name__} in entry {number}: {error}") from None


def _milliseconds(value: Any) -> float:
    return max(0.0, float(value)) if value is not None else 0.0  # -1 is HAR's "does not apply"


def _parse_request(request: Any) -> Request:
    posted = request.get("postData") or {}
    text = posted.get("text")
    if text is None:
        text = urlencode([(one["name"], one.get("value", "")) for one in posted.get("params") or ()])
    return Request(
        request["method"].upper(),
        check_url(request["url"]),
        _parse_headers(request),
        _decode(text, posted.get(_ENCODING_KEY)),
    )


def check_url(url: str) -> str:
    """Return the URL without its fragment; raise ``ValueError`` if it is none."""
    try:
        urlsplit(url).port  # noqa: B018 - it is looked at when it is asked for
    except ValueError as error:
        raise ValueError(f"{url!r} is no URL: {error}") from None
    return url.partition("#")[0]


def _parse_answer(response: Any, status: int) -> Answer:
    content = response.get("content") or {}
    text = content.get("text")
    headers = _parse_headers(response)
    if "content-type" not in {name.lower() for name, _ in headers} and content.get("mimeType"):
        headers += (("Content-Type", content["mimeType"]),)
    return Answer(
        status,
        response.get("statusText") or "",
        headers,
        _decode(text or "", content.get("encoding")),
        is_encoded=bool(content.get(_IS_ENCODED_KEY)),
        is_complete=text is not None or not int(content.get("size") or 0) > 0,
        pieces=tuple((float(when) / 1000, int(length)) for when, length in content.get(_PIECES_KEY) or ()),
        is_finished=not content.get(_UNFINISHED_KEY),
    )


def _parse_headers(message: Any) -> Headers:
    pairs = ((header["name"], header.get("value", "")) for header in message.get("headers") or ())
    # Browsers write several headers of one name as lines of one, and those that HTTP/2 has in place of a first line.
    return tuple((name, line) for name, value in pairs if not name.startswith(":") for line in value.split("\n"))


def _decode(text: str, encoding: Any) -> bytes:
    return (
        base64.b64decode("".join(text.split()), validate=True)
        if encoding == "base64"
        else text.encode("utf-8", "surrogatepass")
    )


# -- an entry, to JSON -------------------------------------------------------------------------------------------


def _render(exchange: Exchange) -> dict[str, Any]:
    request, answer = exchange.request, exchange.answer
    wait, receive = (round(seconds * 1000, 3) for seconds in (exchange.wait_seconds, exchange.receive_seconds))
    query = parse_qsl(urlsplit(request.url).query, keep_blank_values=True)
    rendered: dict[str, Any] = {
        "method": request.method,
        "url": request.url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _render_pairs(request.headers),
        "queryString": _render_pairs(query),
        "headersSize": -1,
        "bodySize": len(request.body),
    }
    if request.body:
        text, encoding = _encode(request.body)
        rendered["postData"] = {"mimeType": find_header(request.headers, "content-type"), "text": text}
        if encoding:
            rendered["postData"][_ENCODING_KEY] = encoding
    text, encoding = _encode(answer.body)
    content: dict[str, Any] = {
        "size": len(answer.body),
        "mimeType": find_header(answer.headers, "content-type"),
        "text": text,
    }
    if encoding:
        content["encoding"] = encoding
    if answer.is_encoded:
        content[_IS_ENCODED_KEY] = True
    if answer.pieces:
        content[_PIECES_KEY] = [[round(seconds * 1000, 3), length] for seconds, length in answer.pieces]
    if not answer.is_finished:
        content[_UNFINISHED_KEY] = True
    return {
        "startedDateTime": exchange.started,
        "time": round(wait + receive, 3),
        "request": rendered,
        "response": {
            "status": answer.status,
            "statusText": answer.reason,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _render_pairs(answer.headers),
            "content": content,
            "redirectURL": find_header(answer.headers, "location"),
            "headersSize": -1,
            "bodySize": -1,
        },
        "cache": {},
        "timings": {"send": 0, "wait": wait, "receive": receive},
    }


def find_header(headers: Headers, name: str) -> str:
    """Return the first header of that name, which is in lower case; empty if there is none."""
    return next((value for key, value in headers if key.lower() == name), "")


def _render_pairs(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


def _encode(body: bytes) -> tuple[str, str]:
    try:
        return body.decode(), ""
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


def is_text(body: bytes) -> bool:
    """Whether the body is text in UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


#: What ``decompress`` knows.
DECODED = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})


def decompress(body: bytes, encoding: str) -> bytes | None:
    """Return the body in plain, as HAR has it; None if the encoding is none of Python's own."""
    try:
        if encoding in ("", "identity"):
            return body
        if encoding in ("gzip", "x-gzip"):
            return gzip.decompress(body)
        if encoding == "deflate":
            return zlib.decompress(body, zlib.MAX_WBITS if body[:1] == b"\x78" else -zlib.MAX_WBITS)
    except (OSError, EOFError, zlib.error):
        pass  # it is not what its header says
    return None
