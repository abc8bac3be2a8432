"""Frozen values that every layer speaks of. No I/O, no validation of text."""
