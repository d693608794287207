"""What `headrace demo` starts on a machine that has only Python: a broker and a collector."""
