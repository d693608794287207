"""From rollups to scores and alert events.

``step`` is the operator: one state a shard. ``watched`` has a detector a series, ``incidents`` says
when an alert fires and resolves, ``anomalies`` writes the events.
"""
