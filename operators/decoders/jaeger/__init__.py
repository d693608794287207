"""Jaeger's spans, as the collector writes them to Kafka."""
