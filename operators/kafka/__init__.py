"""Reading from Kafka in columns, and the one place that makes clients.

``source`` is made of ``reader``s; a reader finds its partitions by ``starting_offsets``, fetches
messages as columns (``fetching``, on ``librdkafka``), and remembers from where on they are read
again after a restart (``low_water``).
"""
