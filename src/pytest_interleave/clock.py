"""Room for wall clocks that follow virtual time, which are not built; ``loop.time()`` is the loop's own."""
