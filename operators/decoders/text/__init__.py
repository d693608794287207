"""Text, a record a message or a line."""
