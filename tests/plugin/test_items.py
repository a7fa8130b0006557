"""What our items answer in pytest's stead is what pytest would answer."""

from __future__ import annotations

import re

import pytest

KINDS = """\
import functools
import pytest
from elsewhere import test_from_elsewhere, Base

pytestmark = pytest.mark.of_module

def keep(function):
    @functools.wraps(function)
    async def kept(*args, **kwargs):
        return await function(*args, **kwargs)
    return kept

def stand_for(function):
    function.place_as = keep
    return function

@pytest.mark.first
@pytest.mark.second(2)
@pytest.mark.first(1)
async def test_plain(): pass

@keep
async def test_wrapped(): pass

@stand_for
async def test_placed(): pass

@pytest.mark.parametrize("value", [1, pytest.param(2, marks=pytest.mark.of_parameter)])
async def test_with_parameter(value): pass

test_partial = functools.partial(test_plain)

@pytest.mark.of_class
class TestMethods(Base):
    pytestmark = [pytest.mark.also_of_class]
    async def test_method(self): pass
    @classmethod
    async def test_class_method(cls): pass
    @staticmethod
    async def test_static(): pass
    @keep
    async def test_wrapped_method(self): pass
    class TestInner:
        @pytest.mark.first
        async def test_inner(self): pass
"""
ELSEWHERE = """\
async def test_from_elsewhere(): pass

class Base:
    async def test_inherited(self): pass
"""
COMPARE = """\
import pytest
from _pytest.mark.structures import NodeKeywords

def pytest_collection_modifyitems(session, items):
    session.add_marker(pytest.mark.of_session)
    items[0].add_marker(pytest.mark.added)
    items[0].keywords["extra"] = True
    for item in items:
        print("COMPARED", item.name, type(item) is not pytest.Function, *compare(item))

def compare(item):
    own = item.location
    del item.__dict__["location"]
    yield own == pytest.Item.location.func(item)
    yield list(item.keywords) == list(NodeKeywords.__iter__(item.keywords))
    for name in (None, "first", "of_class", "of_module", "of_session", "missing"):
        yield list(item.iter_markers(name)) == list(pytest.Item.iter_markers(item, name))
"""


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_location_keywords_and_marks_are_those_of_pytest(pytester: pytest.Pytester, kind: str) -> None:
    """In the same order too: for tests of all kinds, wrapped ones and those of another file among them."""
    pytester.makeini("[pytest]\nasyncio_mode = auto\nfilterwarnings = ignore\n")
    sources = {"test_kinds": KINDS, "elsewhere": ELSEWHERE}
    if kind == "sync":
        sources = {name: re.sub("async |await ", "", source) for name, source in sources.items()}
    pytester.makepyfile(**sources)
    pytester.makeconftest(COMPARE)
    result = pytester.runpytest("-s")
    lines = [line.split() for line in result.outlines if line.startswith("COMPARED ")]
    compared = {name: answers for _, name, *answers in lines}
    assert len(compared) == 13
    assert {name: answers for name, answers in compared.items() if set(answers) != {"True"}} == {}
    result.assert_outcomes(passed=13)


def test_sync_tests_are_shown_as_by_pytest(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass\n")
    result = pytester.runpytest("--collect-only")
    result.stdout.fnmatch_lines(["*<Function test_it>"])


@pytest.mark.parametrize("define", ["async def", "def"])
def test_an_item_class_of_another_plugin_answers_itself(pytester: pytest.Pytester, define: str) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makeconftest("""
import pytest

class Function(pytest.Function):
    location = ("nowhere.py", 1, "of its own")
    def iter_markers(self, name=None):
        return iter([mark for mark in super().iter_markers(name) if mark.name != "skip"])

class Reporting(pytest.Function):
    def reportinfo(self):
        return "elsewhere.py", 6, "reported"

def pytest_pycollect_makeitem(collector, name, obj):
    if name.startswith("test_"):
        item_class = Reporting if name == "test_reporting" else Function
        return item_class.from_parent(collector, name=name, callobj=obj)

def pytest_runtest_logstart(nodeid, location):
    print("AT", *location)
""")
    pytester.makepyfile(f"""
import pytest

@pytest.mark.skip
{define} test_it(): pass
{define} test_reporting(): pass
""")
    result = pytester.runpytest("-s")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*AT nowhere.py 1 of its own", "*AT elsewhere.py 6 reported"])
