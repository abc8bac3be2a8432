"""Sockets: what is to be bound, how, and who may reach it."""
