"""The control API: HTTP on a Unix socket."""
