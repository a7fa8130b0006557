"""Nothing stands in here but pytest-interleave itself, which brings the fixtures and the module."""
