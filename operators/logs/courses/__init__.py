"""The course of a span in its log lines: which line follows which, and how unusual that is."""
