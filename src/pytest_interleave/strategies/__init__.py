"""Strategies: deciders that look for failures. One a file; none knows another."""
