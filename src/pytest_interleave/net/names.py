"""Names and addresses as clients spell them, and the addresses that stand for names of hosts."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from typing import Any

_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
#: 127.1, 0x7f.0.0.1, 2130706433: what C's inet_aton reads, and libraries hand on as it is.
_OLD_SPELLING = re.compile(r"(0x[0-9a-f]+|\d+)(\.(0x[0-9a-f]+|\d+)){0,3}")

#: Addresses by name, for the life of the process: clients that outlive a test have them in their caches.
_addresses: dict[str, str] = {}
_names: dict[str, str] = {}
_FIRST_ADDRESS = int(ipaddress.IPv4Address("127.37.0.1"))
_lock = threading.Lock()


def plain(name: Any) -> str:
    """Return the name as all spellings of it are compared."""
    if isinstance(name, (bytes, bytearray)):
        name = bytes(name).decode("ascii", "replace")
    text = str(name).rstrip(".").lower()
    return text if text.isascii() else ".".join(map(_in_ascii, text.split(".")))


def _in_ascii(label: str) -> str:
    """Return a part of a name as it is asked for: clients that know IDNA 2008 have it from the package of that name."""
    if label.isascii():
        return label
    try:
        from idna import IDNAError, encode
    except ImportError:
        return label.encode("idna").decode()
    try:
        return encode(label, uts46=True).decode()
    except IDNAError:
        return label


def as_address(name: str) -> str | None:
    """Return the address in its usual spelling, without a zone; None if it is a name."""
    bare = name.partition("%")[0]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, bare))
        except (OSError, ValueError):
            continue
    if _OLD_SPELLING.fullmatch(name):
        try:
            return socket.inet_ntoa(socket.inet_aton(name))
        except OSError:
            return None
    return None


def is_local_name(name: str) -> bool:
    """Whether everybody has this name for himself."""
    return name in _LOCAL_NAMES or name.endswith(".localhost")


def is_local_address(address: str) -> bool:
    """Whether nothing that is sent there leaves the machine; for an address as ``as_address`` spells it."""
    bare = address.removeprefix("::ffff:")
    return bare.startswith("127.") or bare in ("::1", "0.0.0.0", "::", "")


def address_of(name: str) -> str:
    """Return the address that stands for the name."""
    with _lock:
        address = _addresses.get(name)
        if address is None:
            address = str(ipaddress.IPv4Address(_FIRST_ADDRESS + len(_addresses)))
            _addresses[name] = address
            _names[address] = name
        return address


def name_of(address: str) -> str | None:
    """Return the name that the address stands for."""
    return _names.get(address)
