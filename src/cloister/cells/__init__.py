"""Cells: from an application to a specification, and its launch by ``cloister-cell``."""
