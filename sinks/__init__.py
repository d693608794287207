"""Destinations: one file each, each confirmed and safe to replay."""
