# A session of pytester's takes what it imported out of sys.modules again: the next one would load all of it anew, which
# was half of what the tests took. And concurrent.futures loads its processes when somebody asks and keeps the class: if
# that is such a session, no executor of processes can pickle its worker from then on.
import concurrent.futures.process

import aiohttp.test_utils
import hypothesis
import pytest_interleave.plugin.exploring.reports
import pytest_interleave.net.hosts  # noqa: F401

pytest_plugins = ["pytester"]
