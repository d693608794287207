"""Personal data and secrets: found in texts and fields, and taken out of them."""
