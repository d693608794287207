"""From points to rollups, by event time.

``step`` is the operator: one state a shard. A ``shard`` knows ``names`` and keeps the points of
``open_windows``; ``computing`` makes rollups of what is due, with ``sums`` for numbers,
``histograms`` and ``sketches`` for distributions, and ``levels`` for coarser windows.
"""
