"""Placeholder, filled by the controlled loop."""
