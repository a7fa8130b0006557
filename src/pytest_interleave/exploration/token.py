"""A failing schedule as a short line of text that can be pasted.

``x1`` names the format; then, in URL-safe base64 without padding: the mode, two bytes that stand for the test, the
ordering constraints, and the choices in their exact form. Numbers are varints (seven bits a byte, low ones first).
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from pytest_interleave.errors import InterleaveError
from pytest_interleave.schedule import EventId
from pytest_interleave.settings import MODES

_VERSION = "x1"
_KINDS = (
    "step",
    "call",
    "start",
    "timer",
    "read",
    "write",
    "thread",
    "cancel",
    "again",
    "way",
    "cut",
    "gone",
    "draw",
    "meet",
    "split",
    "tick",
    "never",
)


class TokenError(InterleaveError):
    """A token that cannot be used, and why, in one line."""


@dataclass(slots=True)
class Token:
    """A schedule to replay."""

    mode: str
    test: int
    constraints: dict[EventId, EventId] | None = None
    vector: list[int] = field(default_factory=list)
    holds_steps: bool = False

    def encode(self) -> str:
        """Return the line of text."""
        data = bytearray()
        _put(data, MODES.index(self.mode) * 4 + 2 * self.holds_steps + (self.constraints is not None))
        data += self.test.to_bytes(2, "big")
        if self.constraints is not None:
            _put(data, len(self.constraints))
            for event, condition in self.constraints.items():
                _put_event(data, event)
                _put_event(data, condition)
        else:
            for choice in self.vector:
                _put(data, choice)
        packed = bytes(data)
        smaller = zlib.compress(packed, 9)
        body = b"\x01" + smaller if len(smaller) < len(packed) else b"\x00" + packed
        return f"{_VERSION}.{base64.urlsafe_b64encode(body).decode().rstrip('=')}"

    @classmethod
    def decode(cls, text: str) -> Token:
        """Read a token. Raises ``TokenError`` with one line if it is none, or of another version."""
        version, dot, rest = text.strip().partition(".")
        if not dot or not version.startswith("x"):
            raise TokenError(f"{text!r} is not a replay token; one looks like x1.AAEC…")
        if version != _VERSION:
            raise TokenError(
                f"the replay token is of format {version}, this pytest-interleave reads {_VERSION}: "
                "run the test with --interleave again to get a new one"
            )
        try:
            body = base64.urlsafe_b64decode(rest + "=" * (-len(rest) % 4))
            data = _Bytes(zlib.decompress(body[1:]) if body[:1] == b"\x01" else body[1:])
            flags = data.number()
            token = cls(mode=MODES[flags // 4], test=data.take() * 256 + data.take(), holds_steps=bool(flags & 2))
            if flags & 1:
                token.constraints = {}
                for _ in range(data.number()):
                    event = data.event()
                    token.constraints[event] = data.event()
            else:
                while data.left:
                    token.vector.append(data.number())
        except (ValueError, IndexError, binascii.Error, zlib.error) as error:
            raise TokenError(f"the replay token {text!r} is damaged: paste it whole") from error
        return token


def test_number(name: str) -> int:
    """Return the two bytes by which a token knows its test."""
    return zlib.crc32(name.encode()) & 0xFFFF


def _put(data: bytearray, number: int) -> None:
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)


def _put_event(data: bytearray, event: EventId) -> None:
    if not event:
        _put(data, 0)
        return
    path, kind, ordinal = event
    assert isinstance(path, tuple)
    assert isinstance(kind, str)
    assert isinstance(ordinal, int)
    _put(data, _KINDS.index(kind) + 1)
    _put(data, len(path))
    for number in path:
        _put(data, number)
    _put(data, ordinal)


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._next

    def take(self) -> int:
        byte = self._data[self._next]
        self._next += 1
        return byte

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.take()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def event(self) -> EventId:
        kind = self.number()
        if kind == 0:
            return ()
        path = tuple(self.number() for _ in range(self.number()))
        return path, _KINDS[kind - 1], self.number()


__all__: Sequence[str] = ("Token", "TokenError", "test_number")
