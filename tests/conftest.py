from __future__ import annotations

import signal
from importlib import import_module
from pkgutil import walk_packages

from sessions import be_patient

import pytest_interleave

pytest_plugins = ["pytester"]

# A shell that starts the tests in the background has Ctrl-C ignored, here and in each process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A session of pytester's takes what it imported out of sys.modules again: the next one would load all of it anew, which
# was half of what the tests took, and a test that patches one of our modules would patch an old one. And
# concurrent.futures loads its processes when somebody asks and keeps the class: if that is such a session, no executor
# of processes can pickle its worker from then on.
for name in (
    "aiohttp.test_utils",
    "concurrent.futures.process",
    "httpcore",
    "hypothesis",
    "resource",
    "trustme",
    "uvicorn",
    "yaml",
    *(module.name for module in walk_packages(pytest_interleave.__path__, "pytest_interleave.")),
):
    import_module(name)

be_patient()
