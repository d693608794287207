"""Lines that belong together: the parts of a stack trace, and what a shipper sent in pieces."""
