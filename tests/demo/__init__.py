"""What `make demo` runs on a machine that has only Python: a real fault, found by the real flows."""
