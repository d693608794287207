"""How good a detector is on labelled series: ``python -m models.evaluate nab --help``."""
