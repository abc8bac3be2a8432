"""Diagnosis: why a socket cannot be reached, and what cures it.

``probes`` looks and changes nothing; ``case`` holds what was seen about one way to one
socket; every file in ``rules`` knows one kind of cause; ``doctor`` asks them all and sorts.
"""
