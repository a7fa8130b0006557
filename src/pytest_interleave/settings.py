"""Settings as plain values; who reads them from ini files and flags is the plugin."""

from __future__ import annotations
