"""A host that answers as the real one did: from a HAR file, which the real one fills when it is asked for.

While it records, a request goes on to the real host, by aiohttp's client, past all declared hosts. Its answer goes to
the client with its secrets, and to the file without them. What is equal to a recorded request is decided without the
secrets too, so a replay needs none.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pytest_interleave.errors import RecordingError
from pytest_interleave.net import answering, cassette, har
from pytest_interleave.net.calls import (
    NO_ROUTE_STATUS,
    Call,
    Unmatched,
    nearest_of,
    query_text,
    shorten,
    show_difference,
)
from pytest_interleave.net.filtering import FILTERED, Filter, boundary_of
from pytest_interleave.net.har import Exchange, Recorded, Request
from pytest_interleave.settings import RECORD_MODES

if TYPE_CHECKING:
    from aiohttp import web

    from pytest_interleave.net.aiohttp_server import ServedApplication
    from pytest_interleave.net.hosts import Hosts
    from pytest_interleave.net.real_host import RealHost

PARTS = ("method", "path", "query", "body")
_HEADER = "header:"
#: What hosts do that do not say themselves; the plugin sets it for a session.
default_mode = "none"
#: How many exchanges were written to each file, for the summary.
written: dict[Path, int] = {}

_MOST_OTHERS = 10


@dataclass(frozen=True)
class RecordedRequest:
    """A request of the file, without its secrets, and the answers to it in order."""

    request: Request
    parts: dict[str, Any]
    answers: list[Exchange]
    match: tuple[str, ...]

    @property
    def path(self) -> str:
        """The path that was asked for."""
        return _path_of(self.request.url)

    def mismatches(self, call: Call) -> list[str]:
        """Return what of the request is not as it was recorded, a line each."""
        came = _parts_of(Request(call.method, call.url, tuple(call.headers.items()), call.body), self.match)
        found = []
        for part in self.match:
            if came[part] != self.parts[part]:
                one, other = _show_difference(part, self.parts[part], came[part])
                found.append(f"{part}: {one} was recorded, {other} came")
        return found

    def __str__(self) -> str:
        query = urlsplit(self.request.url).query
        return f"{self.request.method} {self.path}{'?' if query else ''}{query}"


@dataclass(frozen=True)
class Unrecorded(Unmatched):
    """A request that no recorded one is equal to, or more of them than were recorded."""

    recording: Recording
    reason: str = ""
    #: What to record so that it is answered; empty if that does not help.
    remedy: str = "missing"

    @property
    def place(self) -> str | None:
        """Where the recording is declared."""
        return self.recording.place

    @property
    def advice(self) -> str:
        """How to record it."""
        if cassette.is_cassette(self.recording.path):
            return "A cassette is only read. Record it in a HAR file: name one in hosts.recording()."
        return f"Record it: pytest --interleave-record={self.remedy} {{test}}" if self.remedy else ""

    def summary(self) -> str:
        """Return one line."""
        what = "is not in the recording" if not self.reason else "cannot be answered from the recording"
        return f"{self.call.method} {self.call.url} {what} {self.recording.path.name}"

    def differences(self) -> tuple[str, ...]:
        """Return why, or what the nearest recorded request was, then the others."""
        if self.reason:
            return (self.reason,)
        recorded = self.recording.requests
        nearest = nearest_of(self.call, recorded)
        if nearest is None:
            return (self.recording.describe_emptiness(),)
        lines = [f"the nearest that was recorded is {nearest}:"]
        lines += [f"  {line}" for line in nearest.mismatches(self.call)]
        others = [str(one) for one in recorded if one is not nearest]
        if others:
            more = f", and {len(others) - _MOST_OTHERS} more" if len(others) > _MOST_OTHERS else ""
            lines.append("others: " + ", ".join(others[:_MOST_OTHERS]) + more)
        return tuple(lines)


#: What files have, with what tells that they are still the same: a search asks in each of its runs.
_files: dict[Path, tuple[tuple[int, int], tuple[Exchange, ...]]] = {}
_indexes: dict[tuple[Any, ...], tuple[tuple[Exchange, ...], dict[Hashable, RecordedRequest]]] = {}


def _read_file(path: Path) -> tuple[Exchange, ...]:
    status = path.stat()
    stamp = (status.st_mtime_ns, status.st_size)
    known = _files.get(path)
    if known is None or known[0] != stamp:
        known = _files[path] = (stamp, (cassette if cassette.is_cassette(path) else har).read(path))
    return known[1]


class Recording:
    """What was recorded from one host, and the log of what was asked there."""

    def __init__(
        self,
        name: str,
        path: Path,
        hosts: Hosts,
        *,
        match: Iterable[str],
        secrets: Iterable[str],
        repeat: bool,
        timings: bool | None,
        upstream: str | None,
        place: str,
    ) -> None:
        self.name = name
        self.path = path
        #: ``file:line`` of its declaration.
        self.place = place
        self.mode = hosts.record or default_mode
        if cassette.is_cassette(path) and self.mode in RECORD_MODES:
            self.mode = "none"
        #: Every request, in the order of arrival.
        self.calls: list[Call] = []
        self.unmatched: list[Unmatched] = []
        #: The largest number of requests that waited for their answers at once.
        self.max_in_flight = 0
        self.errors: list[Exception] = []
        self._hosts = hosts
        self._match = _check_match(match)
        self._secrets = (secrets,) if isinstance(secrets, str) else tuple(secrets)
        self._filter = Filter(self._secrets)
        self._is_last_repeated = repeat
        self._are_timings_kept = timings
        self._upstream = None if upstream is None else _check_upstream(upstream)
        self._counts: dict[Hashable, int] = {}
        self._new: dict[int, Recorded] = {}
        #: Whether the client may have what stands for a secret in a recorded answer.
        self._has_given_stand_in = False
        self._in_flight = 0
        self._served: ServedApplication | None = None
        self._real_host: RealHost | None = None
        if self.mode not in RECORD_MODES:
            raise ValueError(f"{self.mode!r} is not a valid record. Valid values: {', '.join(RECORD_MODES)}.")
        #: Ports of the host, and which are under TLS; the same name at another port is another server.
        self._ports: dict[int, bool] = {}
        self._recorded: dict[Hashable, RecordedRequest] = {}

    def open(self, ports: dict[int, bool]) -> None:
        """Read what was recorded from these ports, of which some are under TLS."""
        self._ports = ports
        self._recorded = self._read()

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests that were recorded, each once, in order."""
        return list(self._recorded.values())

    def unused(self) -> list[Any]:
        """Return nothing: a recording may have more than a test asks for, and one of a browser always has."""
        return []

    def describe_emptiness(self) -> str:
        """Say why nothing at all can be answered."""
        if not self.path.exists():
            return f"there is no file {self.path}"
        others = sorted({urlsplit(exchange.request.url).netloc for exchange in _read_file(self.path)})
        ports = " or ".join(map(str, sorted(self._ports)))
        return (
            f"nothing was recorded from {self.name}:{ports} in {self.path}, only from {', '.join(others) or 'nobody'}"
        )

    def _read(self) -> dict[Hashable, RecordedRequest]:
        """Return what the file has, by what is asked."""
        if not self.path.exists():
            return {}
        exchanges = _read_file(self.path)
        which = (self.path, self.name, tuple(self._ports), self._match, self._secrets)
        known = _indexes.get(which)
        if known is not None and known[0] is exchanges:
            return known[1]
        recorded: dict[Hashable, RecordedRequest] = {}
        for exchange in exchanges:
            if self._is_of_host(exchange):
                request = self._filter.clean_request(exchange.request)
                new = RecordedRequest(request, _parts_of(request, self._match), [], self._match)
                recorded.setdefault(self._key(request), new).answers.append(exchange)
        _indexes[which] = (exchanges, recorded)
        return recorded

    def _is_of_host(self, exchange: Exchange) -> bool:
        host, port = _host_and_port(exchange.request.url)
        return port in self._ports and (host == self.name or fnmatchcase(host, self.name))

    def _key(self, request: Request) -> Hashable:
        """Return what is the same for requests that get the same answer."""
        return (*_host_and_port(request.url), *_parts_of(request, self._match).values())

    # -- at work -------------------------------------------------------------------------------------------------

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Answer on that socket."""
        if self._served is None:
            from pytest_interleave.net.aiohttp_server import serve_all

            self._served = serve_all(self._answer)
        await self._served.listen(listener, tls)

    async def close(self) -> None:
        """End the server; write what is new."""
        try:
            if self._served is not None:
                await self._served.close()
            if self._real_host is not None:
                await self._real_host.close()
        finally:
            self._write()

    def _write(self) -> None:
        new, self._new = self._new, {}
        if not new:
            return
        clean = Filter(self._secrets)

        def key_of(exchange: Exchange) -> Hashable:
            return self._key(clean.clean_request(exchange.request)) if self._is_of_host(exchange) else None

        in_order = [new[number] for number in sorted(new)]
        count = har.write(self.path, in_order, key_of, are_replaced=self.mode == "all")
        if count:
            written[self.path] = written.get(self.path, 0) + count

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        clock = asyncio.get_running_loop().time
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        query = tuple(request.query.items())
        call = Call(request.method, self._url_of(request), request.path, query, request.headers, b"", clock())
        try:
            call.body = await request.read()
            self.calls.append(call)
            return await self._answer_call(request, call)
        except RecordingError as error:
            self._hosts.errors.append(error)
            return _failure(str(error))
        finally:
            call.ended = clock()
            self._in_flight -= 1

    def _url_of(self, request: web.Request) -> str:
        """Return the URL by the declared name, since clients may put any in their headers, if it is one name."""
        if "*" in self.name:
            return f"{request.scheme}://{request.host}{request.raw_path}"
        port = next(port for port, is_tls in self._ports.items() if is_tls == request.secure)
        name = f"[{self.name}]" if ":" in self.name else self.name
        shown = "" if port == (443 if request.secure else 80) else f":{port}"
        return f"{request.scheme}://{name}{shown}{request.raw_path}"

    async def _answer_call(self, request: web.Request, call: Call) -> web.StreamResponse:
        arrived = Request(call.method, call.url, tuple(request.headers.items()), call.body)
        cleaned = self._filter.clean_request(arrived)
        key = self._key(cleaned)
        number = self._counts.get(key, 0)
        self._counts[key] = number + 1
        found = self._find(key, number)
        if found is not None:
            return await self._replay(request, found, call)
        # Messages go to logs that others read.
        shown = replace(
            call, url=cleaned.url, path=_path_of(cleaned.url), headers=dict(cleaned.headers), body=cleaned.body
        )
        if self.mode == "none":
            return self._refuse(shown, self._describe_lack(key))
        if _is_virtual():
            return self._refuse(
                shown,
                "it cannot be recorded in virtual time, which does not wait for a real host: run the test without",
                remedy="",
            )
        what = f"{call.method} {cleaned.url}"
        if self._has_given_stand_in and _has_stand_in(arrived):
            raise RecordingError(
                f"{what} sends a secret that it has from a recorded answer, where it is {FILTERED}: record the whole "
                "test anew, by --interleave-record=all"
            )
        position = len(self.calls)

        def keep(exchange: Exchange) -> None:
            answer = self._filter.clean_answer(exchange.answer, arrived)
            self._new[position] = Recorded(replace(exchange, request=cleaned, answer=answer), key, number)

        if self._real_host is None:
            from pytest_interleave.net.real_host import RealHost

            self._real_host = RealHost(self._upstream)
        return await self._real_host.ask(request, arrived, what, keep)

    def _find(self, key: Hashable, number: int) -> Exchange | None:
        recorded = self._recorded.get(key)
        if recorded is None or self.mode == "all":
            return None
        if number < len(recorded.answers):
            return recorded.answers[number]
        return recorded.answers[-1] if self._is_last_repeated else None

    def _describe_lack(self, key: Hashable) -> str:
        recorded = self._recorded.get(key)
        if recorded is None:
            return ""
        count = len(recorded.answers)
        times = "once" if count == 1 else f"{count} times"
        return (
            f"{recorded} was recorded {times}, and this is one more; hosts.recording(…, repeat=True) gives the last "
            "answer again"
        )

    def _refuse(self, call: Call, reason: str, *, remedy: str = "missing") -> web.Response:
        unmatched = Unrecorded(call, (), self, reason, remedy)
        self.unmatched.append(unmatched)
        self._hosts.note_unmatched(unmatched)
        return _failure("\n".join([unmatched.summary(), *unmatched.differences()]))

    async def _replay(self, request: web.Request, exchange: Exchange, call: Call) -> web.StreamResponse:
        if not exchange.answer.is_complete:
            reason = "the file has the answer without its body: the browser had not kept it"
            return self._refuse(call, reason, remedy="all")
        are_timings_kept = self._are_timings_kept if self._are_timings_kept is not None else _is_virtual()
        if FILTERED.encode() in exchange.answer.body or FILTERED in str(exchange.answer.headers):
            self._has_given_stand_in = True
        if are_timings_kept and exchange.wait_seconds:
            await asyncio.sleep(exchange.wait_seconds)
        return await answering.send(request, exchange.answer, are_timings_kept=are_timings_kept)

    def __repr__(self) -> str:
        return f"<recording of {self.name} in {self.path}, {len(self._recorded)} requests>"


def _has_stand_in(request: Request) -> bool:
    return FILTERED in f"{request.url}{request.headers}" or FILTERED.encode() in request.body


def _is_virtual() -> bool:
    return getattr(asyncio.get_running_loop(), "is_virtual", False)


def _check_match(match: Iterable[str]) -> tuple[str, ...]:
    parts = (match,) if isinstance(match, str) else tuple(match)
    wrong = [part for part in parts if part not in PARTS and not (part.startswith(_HEADER) and part != _HEADER)]
    if wrong or not parts:
        raise ValueError(
            f"{wrong[0] if wrong else match!r} is not a valid match. Valid values: {', '.join(PARTS)}, header:NAME."
        )
    return tuple(part.lower() for part in parts)


def _check_upstream(upstream: str) -> str:
    parts = urlsplit(upstream)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise ValueError(f"{upstream!r} is not a valid upstream: say 'https://staging.example.com'")
    return upstream.rstrip("/")


# -- what is compared --------------------------------------------------------------------------------------------


def _parts_of(request: Request, match: Iterable[str]) -> dict[str, Hashable]:
    """Return these parts of a request, so that equal ones are equal values."""
    return {part: _part_of(request, part) for part in match}


def _part_of(request: Request, part: str) -> Hashable:
    if part == "method":
        return request.method
    if part == "path":
        return _path_of(request.url)
    if part == "query":
        return _pairs_of(urlsplit(request.url).query)
    if part == "body":
        return _body_of(request)
    return har.find_header(request.headers, part.removeprefix(_HEADER))


def _path_of(url: str) -> str:
    return unquote(urlsplit(url).path) or "/"


def _body_of(request: Request) -> Hashable:
    """Return the body, without what differs from one writer of the same to another."""
    kind = har.find_header(request.headers, "content-type")
    boundary = boundary_of(kind)
    if boundary:
        return request.body.replace(boundary, b"--boundary")
    if "x-www-form-urlencoded" in kind:
        pairs = _pairs_of(request.body.decode("latin-1"))
        members = dict(pairs)
        # As JSON has it, because cassettes have both so.
        return json.dumps(members, sort_keys=True) if len(members) == len(pairs) else pairs
    if request.body[:1] in (b"{", b"["):
        try:
            return json.dumps(json.loads(request.body, object_pairs_hook=_members_of), sort_keys=True)
        except ValueError:
            pass
    return request.body


def _pairs_of(text: str) -> tuple[tuple[str, str], ...]:
    """Return parameters in one order, without those that are secret: who recorded may have left them out."""
    return tuple(sorted(pair for pair in parse_qsl(text, keep_blank_values=True) if pair[1] != FILTERED))


def _members_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in pairs if value != FILTERED}


def _show_difference(part: str, recorded: Any, came: Any) -> tuple[str, str]:
    """Return two values of a part as a message has them; of two bodies in JSON, what differs."""
    if part == "body":
        try:
            recorded, came = show_difference(recorded, came)
        except (ValueError, TypeError):
            pass
    return _show(recorded), _show(came)


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return shorten(query_text(value))
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return shorten(text) or "nothing"


def _host_and_port(url: str) -> tuple[str, int]:
    split = urlsplit(url)
    return split.hostname or "", split.port or (443 if split.scheme == "https" else 80)


# -- the answer --------------------------------------------------------------------------------------------------


def _failure(text: str) -> web.Response:
    """Return what a client gets for which there is no answer."""
    from aiohttp import web

    return web.Response(status=NO_ROUTE_STATUS, text=text)
