"""From alert events to notifications: grouping, deduplication, timing and routing."""
