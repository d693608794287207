"""Exceptions: read from stack traces, and grouped by what makes two of them the same."""
