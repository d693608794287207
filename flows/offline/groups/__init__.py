"""Series that ought to be alike: ``outliers`` finds the one that is not."""
