"""Puts a running whole together from a snapshot, and takes it apart again."""
