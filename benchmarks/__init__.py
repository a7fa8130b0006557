"""Ratios against the neighbours, each measured in one run: see README.md beside this file."""
