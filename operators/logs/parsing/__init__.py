"""What a record says of itself: its time, severity and fields, by what kind of body it has."""
