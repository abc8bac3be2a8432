"""The life of an application: start, readiness, restart, stop."""
