"""Drives ``cloister-door``: its messages and its client."""
