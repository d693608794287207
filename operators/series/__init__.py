"""From decoded points to named series on their way to a shard.

``step`` is the operator; ``registry`` names each identity once, with its ``labels``, its
``enrichment``, its tenant and what the settings say is a counter; ``shuffle`` parts the points by
shard.
"""
