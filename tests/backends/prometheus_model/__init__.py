"""Prometheus's own packages as an oracle for its wire formats."""
