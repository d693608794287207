"""A real Jaeger, and what else is built inside of a copy of its module."""
