from __future__ import annotations

import ssl

import pytest
import trustme


@pytest.fixture(scope="module")
def certificates():
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client
