"""Zipkin's spans, version 2, as the collector writes them to Kafka."""
