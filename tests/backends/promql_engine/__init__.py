"""Prometheus' query engine: the oracle for ``operators.rules``, and what it is compared with."""
