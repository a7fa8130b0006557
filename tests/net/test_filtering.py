from __future__ import annotations

import pytest

from pytest_interleave.net.filtering import Filter
from pytest_interleave.net.har import Answer, Request

JSON = (("Content-Type", "application/json"),)


def clean(url: str = "http://a/", headers: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> Request:
    return Filter().clean_request(Request("POST", url, headers, body))


@pytest.mark.parametrize(
    ("name", "value", "cleaned"),
    [
        ("Authorization", "Bearer abc", "Bearer FILTERED"),
        ("Proxy-Authorization", "Basic YTpi", "Basic FILTERED"),
        ("X-API-Key", "abc", "FILTERED"),
        ("x-goog-api-key", "abc", "FILTERED"),
        ("X-Shopify-Access-Token", "abc", "FILTERED"),
        ("Cookie", "a=1; theme=dark; flag", "a=FILTERED; theme=FILTERED; flag"),
        ("Set-Cookie", "sid=abc; Path=/; HttpOnly", "sid=FILTERED; Path=/; HttpOnly"),
        ("Location", "/next?code=1&token=abc", "/next?code=1&token=FILTERED"),
        ("WWW-Authenticate", "Basic realm=x", "Basic realm=x"),
        ("Content-Type", "text/plain", "text/plain"),
        ("x-ratelimit-remaining-tokens", "149984", "149984"),
        ("X-RateLimit-Token-Limit", "100", "100"),
        ("Access-Control-Allow-Credentials", "true", "true"),
        ("Idempotency-Key", "abc", "abc"),
    ],
)
def test_headers(name: str, value: str, cleaned: str) -> None:
    assert clean(headers=((name, value),)).headers == ((name, cleaned),)


@pytest.mark.parametrize(
    ("query", "cleaned"),
    [
        ("a=1&api_key=x&b=%20", "a=1&api_key=FILTERED&b=%20"),
        ("accessToken=x", "accessToken=FILTERED"),
        ("X-Amz-Signature=x&X-Amz-Date=1", "X-Amz-Signature=FILTERED&X-Amz-Date=1"),
        ("api%5Fkey=x&key=&flag", "api%5Fkey=FILTERED&key=&flag"),
        ("next_page_token=x", "next_page_token=x"),
    ],
)
def test_queries(query: str, cleaned: str) -> None:
    assert clean(f"http://a/b?{query}").url == f"http://a/b?{cleaned}"


@pytest.mark.parametrize(
    ("body", "cleaned"),
    [
        (b'{ "password" : "a\\"b", "user": "Ann"}', b'{ "password" : "FILTERED", "user": "Ann"}'),
        (b'{"a": [{"clientSecret": 1234}]}', b'{"a": [{"clientSecret": "FILTERED"}]}'),
        (b'{"token": null, "secret": "", "key": "PROJ-1"}', b'{"token": null, "secret": "", "key": "PROJ-1"}'),
        (b'data: {"access_token": "x"}\n\n', b'data: {"access_token": "FILTERED"}\n\n'),
        (b'{"body": "{\\"password\\": \\"x\\"}"}', b'{"body": "{\\"password\\": \\"FILTERED\\"}"}'),
        (b'\xff"password": "x"', b'\xff"password": "x"'),
    ],
)
def test_json(body: bytes, cleaned: bytes) -> None:
    assert clean(headers=JSON, body=body).body == cleaned


def test_forms() -> None:
    headers = (("content-type", "application/x-www-form-urlencoded"),)
    assert clean(headers=headers, body=b"user=a&password=b+c").body == b"user=a&password=FILTERED"

    headers = (("content-type", "multipart/form-data; boundary=XX"),)
    part = b'--XX\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = part % (b"password", b"\xff\x00") + part % (b"user", b"Ann") + b"--XX--\r\n"
    assert clean(headers=headers, body=body).body == body.replace(b"\xff\x00", b"FILTERED")


def test_a_secret_is_found_where_it_is_repeated() -> None:
    filter_ = Filter(["X-Custom"])
    request = Request("GET", "http://a/of+the/user%2B1?q=user%2B1xx", (("x_custom", "user+1xx"),), b"I am user+1xx")

    cleaned = filter_.clean_request(request)
    answer = filter_.clean_answer(Answer(200, headers=(("X-Echo", "user+1xx"),), body=b"<user+1xx>"), request)

    assert cleaned == Request(
        "GET", "http://a/of+the/user%2B1?q=FILTERED", (("x_custom", "FILTERED"),), b"I am FILTERED"
    )
    assert (answer.headers, answer.body) == ((("X-Echo", "FILTERED"),), b"<FILTERED>")


def test_a_secret_that_was_answered_is_found_in_later_requests() -> None:
    filter_ = Filter()
    answer = Answer(200, headers=JSON, body=b'{"session_id": "0123456789"}')
    assert b"0123456789" not in filter_.clean_answer(answer, Request("POST", "http://a/")).body

    assert filter_.clean_request(Request("GET", "http://a/s/0123456789")).url == "http://a/s/FILTERED"


def test_short_secrets_are_not_looked_for_elsewhere() -> None:
    assert clean("http://a/ann?token=ann").url == "http://a/ann?token=FILTERED"


def test_the_pieces_of_a_stream_are_still_those_of_its_body() -> None:
    body = b'data: {"token": "abcdef"}\n\ndata: 2\n\n'
    for cut, lengths in ((27, [29, 9]), (20, [38])):
        answer = Answer(200, body=body, pieces=((0.0, cut), (1.0, len(body) - cut)))

        cleaned = Filter().clean_answer(answer, Request("GET", "http://a/"))

        assert cleaned.body == b'data: {"token": "FILTERED"}\n\ndata: 2\n\n'
        assert [length for _, length in cleaned.pieces] == lengths
