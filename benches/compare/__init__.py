"""Measures TCP proxies side by side: what ``make bench`` runs. See ``docs/benchmarks.md``."""
