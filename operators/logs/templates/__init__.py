"""Templates: lines that differ only in what varies are of one template."""
