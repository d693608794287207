"""What all parts agree on, and what imports nothing else of ours.

The columns of every frame, the items that travel between steps, the watermark and its marks, the
contract of a decoder, the alert event with its JSON Schema, lengths of time, the clock, the metrics
that Headrace has of itself, snapshots, and what is asked of the engine.
"""
