"""Hostnames and the hosts directory."""
