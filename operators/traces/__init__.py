"""From spans to rates, errors and durations, the map of services, and the traces that are kept."""
