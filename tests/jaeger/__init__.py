"""A real Jaeger is asked the same of Headrace's documents and of its own: `python -m tests.jaeger`."""
