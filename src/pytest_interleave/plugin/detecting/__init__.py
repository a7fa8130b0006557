"""Detectors in pytest: their levels, and what becomes of what they find."""
