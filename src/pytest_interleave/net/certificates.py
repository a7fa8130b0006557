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
    if "_" in name:
        _configure_for_underscores(context, ca, name)
    else:
        ca.issue_cert(name).configure_cert(context)
    return context


def _configure_for_underscores(context: ssl.SSLContext, ca: trustme.CA, name: str) -> None:
    """Give the context a certificate for a name that trustme refuses: Docker networks have such names."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    pattern = ca.issue_cert("localhost")
    leaf = x509.load_pem_x509_certificate(pattern.cert_chain_pems[0].bytes())
    builder = (
        x509.CertificateBuilder()
        .subject_name(leaf.subject)
        .issuer_name(leaf.issuer)
        .public_key(leaf.public_key())
        .serial_number(leaf.serial_number)
        .not_valid_before(leaf.not_valid_before_utc)
        .not_valid_after(leaf.not_valid_after_utc)
    )
    for extension in leaf.extensions:
        is_name = isinstance(extension.value, x509.SubjectAlternativeName)
        value = x509.SubjectAlternativeName([x509.DNSName(name)]) if is_name else extension.value
        builder = builder.add_extension(value, extension.critical)
    key = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
    signed = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]  # trustme has no other kinds of keys
    with pattern.private_key_pem.tempfile() as path:
        with open(path, "ab") as file:
            file.write(signed.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(path)


def trust(context: Any) -> None:
    """Let a client's context trust the authority, if it looks at certificates at all."""
    if context in _trusting or context.verify_mode == ssl.CERT_NONE:
        return
    _trusting.add(context)
    authority().configure_trust(context)
