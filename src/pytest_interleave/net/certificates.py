"""Certificates of a throw-away authority, and the trust of unmodified clients in it.

Clients have their contexts from many places: a module's global made at import, ``certifi``, ``SSL_CERT_FILE``. All of
them wrap a socket or a pair of buffers with it in the end, so that is where a context learns of the authority.
"""

from __future__ import annotations

import functools
import ssl
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    import trustme

_trusting: WeakSet[ssl.SSLContext] = WeakSet()


class TlsNotInstalled(ModuleNotFoundError):
    """Certificates need ``trustme``."""


@functools.cache
def authority() -> trustme.CA:
    """Return the authority of this process; its key is never written anywhere."""
    try:
        import trustme
    except ImportError:
        raise TlsNotInstalled("for hosts with TLS: pip install 'pytest-interleave[tls]'") from None
    return trustme.CA()


@functools.cache
def stranger() -> trustme.CA:
    """Return an authority that no client trusts."""
    import trustme

    return trustme.CA()


@functools.cache
def server_context(name: str) -> ssl.SSLContext:
    """Return what a server of that name shows to its clients."""
    return _context_by(authority(), name)


def untrusted_context(name: str) -> ssl.SSLContext:
    """Return what a server of that name shows whose certificate nobody trusts."""
    return _context_by(stranger(), name)


def _context_by(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(name).configure_cert(context)
    return context


def trust(context: Any) -> None:
    """Let a client's context trust the authority, if it looks at certificates at all."""
    if context in _trusting or context.verify_mode == ssl.CERT_NONE:
        return
    _trusting.add(context)
    authority().configure_trust(context)
