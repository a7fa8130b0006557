"""HTTP/2 by ALPN over TLS: hypercorn and httpx, both with h2."""

import asyncio
import ssl

import httpx
import pytest
import trustme
from serving import serve_hypercorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("localhost")


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    CERTIFICATE.private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)


async def test_it(pem):
    async def answer(request):
        await asyncio.sleep(0.01)
        return PlainTextResponse(f"{request.query_params['name']} by {request.scope['http_version']}")

    app = Starlette(routes=[Route("/", answer)])
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    async with (
        serve_hypercorn(app, certfile=pem, keyfile=pem) as port,
        httpx.AsyncClient(base_url=f"https://localhost:{port}", http2=True, verify=context) as client,
    ):
        replies = await asyncio.gather(*(client.get("/", params={"name": name}) for name in ("ann", "bob")))

    assert [reply.http_version for reply in replies] == ["HTTP/2", "HTTP/2"]
    assert [reply.text for reply in replies] == ["ann by 2", "bob by 2"]
