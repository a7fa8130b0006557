from __future__ import annotations

from importlib import import_module

pytest_plugins = ["pytester"]

# A session of pytester's takes what it imported out of sys.modules again: the next one would load all of it anew, which
# was half of what the tests took. And concurrent.futures loads its processes when somebody asks and keeps the class: if
# that is such a session, no executor of processes can pickle its worker from then on.
for name in (
    "aiohttp.test_utils",
    "concurrent.futures.process",
    "httpcore",
    "hypothesis",
    "pytest_interleave.net.hosts",
    "pytest_interleave.net.real_host",
    "pytest_interleave.net.recording",
    "pytest_interleave.plugin.exploring.reports",
    "yaml",
):
    import_module(name)
