"""Stored rollups in the order of time, from wherever they are: ``base`` has the contract."""
