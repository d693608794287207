"""Detectors trained on stored rollups: ``choosing`` picks the settings, ``incidents`` are labels."""
