"""Limits of active series, by tenant and metric.

One place counts a tenant's series, whatever the number of workers: ``step`` is its operator,
``policy`` decides whom to admit, ``active_series`` knows who is there, and ``label_values`` which
label exploded.
"""
