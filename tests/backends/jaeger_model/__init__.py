"""Jaeger's own conversion between spans and its documents, in a small Go program."""
