"""``pytest --interleave``: the same tests, under many schedules."""
