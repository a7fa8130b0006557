"""What tests of HTTP services and clients get: pytest-aiohttp's fixtures, and why a handler answered 500."""
