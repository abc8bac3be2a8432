"""The kinds of ``cloister generate``: one module for each, imported when used."""
