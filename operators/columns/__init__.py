"""Compiled building blocks of all stages: reading bytes, text and numbers, and finding by hash.

They know nothing of telemetry, and import nothing of ours but each other.
"""
