"""Many callers at once: load on what a test calls, and proof that calls overlap."""
