"""A peer for line protocol: InfluxDB's own reader and Telegraf's own writer."""
