"""The real clocks, by names that stay: freezegun puts its own functions into all modules that hold one of Python's."""

from __future__ import annotations

import time
from functools import partial

monotonic = partial(time.monotonic)
perf_counter = partial(time.perf_counter)
process_time = partial(time.process_time)
