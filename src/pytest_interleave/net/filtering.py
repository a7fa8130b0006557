"""Which parts of a recorded exchange are secret, and what stands in their place.

What is secret goes by its name: that of a header, of a parameter, of a field of a form, of a key in JSON. Its value is
then looked for in the rest of the exchange, since servers repeat what they are told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from urllib.parse import quote, quote_plus, unquote_plus, urlsplit

from pytest_interleave.net.har import Answer, Headers, Request, is_text

FILTERED = "FILTERED"
#: Names, without what joins their words: ``api_key``, ``apiKey`` and ``Api-Key`` are one.
_ALWAYS = """
    accesskey accesstoken apikey apisecret apitoken authkey authorization authtoken bearer clientassertion clientsecret
    codeverifier credentials csrftoken idtoken jwt passphrase passwd password privatekey pwd refreshtoken secret
    secretaccesskey secretkey sessionid sessiontoken sharedsecret subscriptionkey token xsrftoken
"""
#: These are in queries only: in JSON, a key or a signature may be anything.
_IN_QUERIES = """
    appkey assertion auth key session sid sig signature xamzcredential xamzsecuritytoken xamzsignature xgoogcredential
    xgoogsignature
"""
_SECRET = frozenset(_ALWAYS.split())
_SECRET_IN_QUERIES = frozenset(_IN_QUERIES.split())
#: A header is secret that has any of these in its name. How many tokens are left is what a client computes with, and
#: what a page of another origin may see is no secret.
_SECRET_IN_HEADERS = re.compile(
    "^(?!accesscontrol|.*ratelimit).*"
    "(auth(?!enticate)|token(?!s)|secret|passw|apikey|appkey|credential|session|signature|jwt)"
)
_LINKS = frozenset({"location", "contentlocation", "referer", "link"})
#: What is shorter is found in texts by accident.
_SHORTEST_ECHO = 8
_JOINTS = re.compile(r"[-_.\s]")
_JSON_MEMBER = re.compile(rb'"((?:[^"\\]|\\.)*)"(\s*:\s*)("(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*)')
_JSON_IN_JSON = re.compile(rb'\\"([^"\\]*)\\"(\s*:\s*)(\\".*?\\")', re.DOTALL)
_PART_NAME = re.compile(rb'name="([^"]*)"')
_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)


class Filter:
    """Takes secrets out of the exchanges of one recording; ``names`` are secret beside those that always are."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._own_names = frozenset(_squash(name) for name in names)
        self._names = _SECRET | self._own_names
        #: Secrets that were answered. The client may put them anywhere in what it asks next, and in a replay it has
        #: their stand-in to put there; so they are looked for in all later requests.
        self._answered: set[str] = set()

    def clean_request(self, request: Request) -> Request:
        """Return the request without its secrets, for a request that arrives now."""
        found = set(self._answered)
        return _erase_in_request(self._clean_request(request, found), _eraser(found))

    def clean_answer(self, answer: Answer, request: Request) -> Answer:
        """Return the answer without its secrets and those of the request."""
        found = set(self._answered)
        self._clean_request(request, found)
        answered: set[str] = set()
        headers = self._clean_headers(answer.headers, answered)

        def clean_body(body: bytes) -> bytes:
            return body if answer.is_encoded else self._clean_body(body, answer.headers, answered)

        body = clean_body(answer.body)
        self._answered |= answered
        erase = _eraser(found | answered)
        pieces = []
        start = 0
        for seconds, length in answer.pieces:
            pieces.append((seconds, _erase_in_body(clean_body(answer.body[start : start + length]), erase)))
            start += length
        body = _erase_in_body(body, erase)
        if b"".join(piece for _, piece in pieces) != body:
            pieces = [(seconds, body) for seconds, _ in pieces[-1:]]  # a secret lies across two of them
        return replace(
            answer,
            headers=_erase_in_headers(headers, erase),
            body=body,
            pieces=tuple((seconds, len(piece)) for seconds, piece in pieces),
        )

    def _clean_request(self, request: Request, found: set[str]) -> Request:
        return replace(
            request,
            url=self._clean_url(request.url, found),
            headers=self._clean_headers(request.headers, found),
            body=self._clean_body(request.body, request.headers, found),
        )

    def _is_secret(self, name: str, *, is_query: bool = False) -> bool:
        squashed = _squash(name)
        return squashed in self._names or (is_query and squashed in _SECRET_IN_QUERIES)

    def _clean_url(self, url: str, found: set[str]) -> str:
        query = urlsplit(url).query
        return url.replace(f"?{query}", f"?{self._clean_pairs(query, found)}", 1) if query else url

    def _clean_pairs(self, text: str, found: set[str]) -> str:
        """Filter ``name=value&…``, and leave all else as it is written."""
        pairs = []
        for pair in text.split("&"):
            name, equals, value = pair.partition("=")
            if value and self._is_secret(unquote_plus(name), is_query=True):
                found.add(unquote_plus(value))
                pair = f"{name}{equals}{FILTERED}"
            pairs.append(pair)
        return "&".join(pairs)

    def _clean_headers(self, headers: Headers, found: set[str]) -> Headers:
        return tuple((name, self._clean_header(_squash(name), value, found)) for name, value in headers)

    def _clean_header(self, name: str, value: str, found: set[str]) -> str:
        if name in self._own_names:
            found.add(value)
            return FILTERED
        if name == "cookie":
            return "; ".join(_clean_cookie(part.strip(), found) for part in value.split(";"))
        if name == "setcookie":  # a browser keeps no cookie without its attributes
            cookie, semicolon, attributes = value.partition(";")
            return _clean_cookie(cookie, found) + semicolon + attributes
        if name in _LINKS:
            return self._clean_url(value, found)
        if name in self._names or name in _SECRET_IN_QUERIES or _SECRET_IN_HEADERS.search(name):
            scheme, space, credentials = value.partition(" ")
            found.update((value, credentials))
            return f"{scheme} {FILTERED}" if space and scheme.isalpha() else FILTERED
        return value

    def _clean_body(self, body: bytes, headers: Headers, found: set[str]) -> bytes:
        kind = next((value for name, value in headers if name.lower() == "content-type"), "")
        if "x-www-form-urlencoded" in kind:
            return self._clean_pairs(body.decode("latin-1"), found).encode("latin-1")
        boundary = boundary_of(kind)
        if boundary:
            return self._clean_parts(body, boundary, found)
        if not is_text(body):
            return body
        body = _JSON_MEMBER.sub(lambda match: self._clean_member(match, b'"', found), body)
        return _JSON_IN_JSON.sub(lambda match: self._clean_member(match, b'\\"', found), body)

    def _clean_member(self, match: re.Match[bytes], mark: bytes, found: set[str]) -> bytes:
        name, colon, value = match.groups()
        if not self._is_secret(name.decode(errors="replace")) or value == mark + mark:
            return match[0]
        found.add(value.removeprefix(mark).removesuffix(mark).decode(errors="replace"))
        return mark + name + mark + colon + mark + FILTERED.encode() + mark

    def _clean_parts(self, body: bytes, boundary: bytes, found: set[str]) -> bytes:
        """Filter the fields of a form with files."""
        parts = body.split(boundary)
        for number, part in enumerate(parts):
            head, gap, content = part.partition(b"\r\n\r\n")
            name = _PART_NAME.search(head)
            if gap and name is not None and self._is_secret(name[1].decode(errors="replace")):
                value, end, rest = content.rpartition(b"\r\n")
                found.add(value.decode(errors="replace"))
                parts[number] = head + gap + FILTERED.encode() + end + rest
        return boundary.join(parts)


def boundary_of(content_type: str) -> bytes:
    """Return what stands between the parts of a body with several; empty if it is none."""
    match = _BOUNDARY.search(content_type) if content_type.lower().startswith("multipart/") else None
    return b"--" + match[1].encode() if match is not None else b""


def _squash(name: str) -> str:
    return _JOINTS.sub("", name.lower())


def _clean_cookie(cookie: str, found: set[str]) -> str:
    name, equals, value = cookie.partition("=")
    if not value:
        return cookie
    found.add(value)
    return f"{name}{equals}{FILTERED}"


def _eraser(found: set[str]) -> Callable[[str], str]:
    """Return what puts the stand-in where any of these values is repeated, as it is or as URLs have it."""
    values = {value for value in found if len(value) >= _SHORTEST_ECHO and value != FILTERED}
    written = values | {quote(value, safe="") for value in values} | {quote_plus(value) for value in values}
    if not written:
        return lambda text: text
    pattern = re.compile("|".join(re.escape(value) for value in sorted(written, key=len, reverse=True)))
    return lambda text: pattern.sub(FILTERED, text)


def _erase_in_request(request: Request, erase: Callable[[str], str]) -> Request:
    return replace(
        request,
        url=erase(request.url),
        headers=_erase_in_headers(request.headers, erase),
        body=_erase_in_body(request.body, erase),
    )


def _erase_in_headers(headers: Headers, erase: Callable[[str], str]) -> Headers:
    return tuple((name, erase(value)) for name, value in headers)


def _erase_in_body(body: bytes, erase: Callable[[str], str]) -> bytes:
    return erase(body.decode()).encode() if is_text(body) else body
