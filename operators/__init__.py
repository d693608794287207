"""What a flow is wired from: sources, decoders, series, enrichment, windows, scoring, notifying."""
