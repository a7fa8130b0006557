"""What a test leaves changed for the next one is told, with its name; what is undone, or set up for several, is not."""

from __future__ import annotations

from contextvars import copy_context

import pytest
from sessions import run_forked

HEAD = """
import asyncio, contextvars, logging, os, random, time
from unittest import mock

import pytest
import shop
import shop.prices

tenant = contextvars.ContextVar("tenant")
with_default = contextvars.ContextVar("with_default", default="nobody")

async def fake(*arguments):
    pass
"""


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile(
        **{"shop/__init__": "counter = 0\ndef order(): pass\n", "shop/prices": "class Price: pass\n"},
        test_it=HEAD + body,
    )
    return run_forked(pytester, "-v", *arguments)


@pytest.mark.parametrize("options", [(), ("--interleave", "--interleave-runs=3")], ids=["plain", "explored"])
@pytest.mark.parametrize(
    ("kind", "statement", "what"),
    [
        ("", "tenant.set('acme')", "context variable 'tenant' was left set"),
        ("", "os.environ['TOKEN'] = 'secret'", "os.environ['TOKEN'] was left set"),
        ("async ", "os.environ['TOKEN'] = 'secret'", "os.environ['TOKEN'] was left set"),
        ("async ", "os.environ['HOME'] = '/'", "os.environ['HOME'] was left changed"),
        ("async ", "os.environ.pop('HOME', None)", "os.environ['HOME'] was left unset"),
        ("async ", "asyncio.sleep = fake", "asyncio.sleep was left replaced"),
        ("async ", "time.time = lambda: 0", "time.time was left replaced"),
        ("async ", "shop.order = fake", "shop.order was left replaced"),
        ("async ", "shop.prices.Price = fake", "shop.prices.Price was left replaced"),
        ("async ", "vars(shop).pop('order', None)", "shop.order was left replaced"),
        ("async ", "mock.patch('shop.counter', 7).start()", "the mock.patch of 'shop.counter' was started and not *"),
        ("async ", "mock.patch.dict(os.environ).start()", "the mock.patch of * was started and not stopped"),
        ("async ", "logging.getLogger().setLevel('DEBUG')", "the root logger's level was left at DEBUG"),
        ("async ", "logging.disable(logging.ERROR)", "logging was left disabled up to ERROR"),
    ],
)
def test_what_is_left_changed_is_named(
    pytester: pytest.Pytester, kind: str, statement: str, what: str, options: tuple[str, ...]
) -> None:
    body = f"""
def test_before(): pass

{kind}def test_it():
    {statement}

def test_after(): pass
"""
    result = run(pytester, body, *options)

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            f"leaked-context: {what.replace('[', '[[]')} for the tests that come  (test_it.py:16)",
            "  Undo it in the test (token, 'finally'), or let a fixture do it: *",
            "  in test_it.py::test_it",
        ]
    )
    assert str(result.stdout).count("leaked-context: ") == 1
    assert "secret" not in str(result.stdout)


def test_several_are_one_finding_and_strict_fails_the_test(pytester: pytest.Pytester) -> None:
    body = """
def test_it():
    tenant.set("acme")
    shop.order = fake

def test_after(): pass
"""
    result = run(pytester, body, "--interleave-strict")

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "leaked-context: 2 things were left for the tests that come  (test_it.py:14)",
            "    context variable 'tenant' was left set",
            "    shop.order was left replaced",
        ]
    )


def test_what_is_undone_or_set_up_for_several_is_not_told(pytester: pytest.Pytester) -> None:
    body = """
async def test_of_async_code():
    tenant.set("acme")

@pytest.fixture
async def async_fixture():
    tenant.set("acme")

def test_sync_with_an_async_fixture(async_fixture):
    assert tenant.get() == "acme"

def test_monkeypatch(monkeypatch):
    monkeypatch.setenv("TOKEN", "secret")
    monkeypatch.setattr(asyncio, "sleep", fake)
    monkeypatch.setattr(shop, "order", fake)

@mock.patch("shop.order")
def test_mock(order):
    with mock.patch.object(shop.prices, "Price"), mock.patch.dict(os.environ, TOKEN="secret"):
        pass

def test_undone_by_hand():
    token = tenant.set("acme")
    tenant.reset(token)

def test_set_to_its_default():
    with_default.set("nobody")

def test_state_of_its_own():
    shop.counter += 1
    shop.new = fake

def test_caplog(caplog):
    caplog.set_level("DEBUG")

@pytest.mark.filterwarnings("ignore")
def test_warnings():
    __import__("warnings").simplefilter("error")

class TestWide:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def wide(cls):
        token = tenant.set("all")
        os.environ["WIDE"] = "1"
        yield
        del os.environ["WIDE"]
        tenant.reset(token)

    def test_one(self):
        assert tenant.get() == "all"

    async def test_two(self):
        assert tenant.get() == "all"

    def test_three(self): pass

@pytest.fixture(scope="session")
async def of_session():
    tenant.set("session")
    os.environ["SESSION"] = "1"
    yield
    del os.environ["SESSION"]

def test_first_of_session(of_session): pass

@pytest.mark.asyncio(loop_scope="session")
async def test_in_wide_loop(of_session):
    tenant.set("mine")

def test_last_of_session(of_session): pass
"""
    pytester.makepyfile(test_next="def test_it(): pass")
    result = run(pytester, body, "--interleave-strict")

    result.assert_outcomes(passed=16)


def test_a_test_between_those_of_a_wide_fixture_is_told(pytester: pytest.Pytester) -> None:
    body = """
@pytest.fixture(scope="module", autouse=True)
def wide():
    os.environ["WIDE"] = "1"
    yield
    del os.environ["WIDE"]

def test_one(): pass

def test_two():
    tenant.set("acme")

def test_three(): pass
"""
    result = run(pytester, body)

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["leaked-context: context variable 'tenant' was left set *", "  in test_it.py::test_two"]
    )


def test_a_fixture_of_wider_scope_may_begin_with_any_test_of_a_worker(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest

        @pytest.fixture(scope="session")
        def wide():
            os.environ["WIDE"] = "1"
            yield

        @pytest.mark.parametrize("number", range(6))
        def test_it(wide, number):
            pass
        """
    )

    result = run_forked(pytester, "-n", "2")

    result.assert_outcomes(passed=6)
    result.stdout.no_fnmatch_line("leaked-context: *")


def test_a_fixture_of_wider_scope_may_end_with_any_test_of_a_worker(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest

        @pytest.fixture(scope="session")
        def wide():
            os.environ["WIDE"] = "1"
            yield
            del os.environ["WIDE"]

        @pytest.mark.parametrize("number", range(4))
        def test_wide(wide, number):
            pass

        @pytest.mark.parametrize("number", range(8))
        def test_other(number):
            pass
        """
    )

    result = run_forked(pytester, "-n", "2")

    result.assert_outcomes(passed=12)
    result.stdout.no_fnmatch_line("leaked-context: *")


def test_values_that_cannot_be_compared(pytester: pytest.Pytester) -> None:
    """As arrays: to compare two of them would end the session with an INTERNALERROR."""
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile("""
from contextvars import ContextVar

class Array:
    def __eq__(self, other):
        raise ValueError("ambiguous")
    __hash__ = None

variable = ContextVar("variable")

def test_one(): variable.set(Array())
async def test_two():
    assert isinstance(variable.get(), Array)
    variable.set(Array())
def test_three(): variable.set(Array())
""")
    result = copy_context().run(pytester.runpytest)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*context variable 'variable' was left set*", "*test_one*"])
