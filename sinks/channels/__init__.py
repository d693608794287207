"""Where notifications go: one file a channel, and the delivery that tries again for all."""
