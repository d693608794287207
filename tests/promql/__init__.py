"""Runs Prometheus' own tests of its query language, which are not part of this project."""
