"""What reports are drawn with: the geometry of charts, the look of a page, and its templates."""
