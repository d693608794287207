"""Faults, one after the other, under a stream whose exact result is known; see ``driver``."""
