"""Small tests of unmodified libraries, run plainly and explored, on each Python and aiohttp."""
