"""What can go wrong: one file a place where it does.

To add one: write it, and put a line into ``tests.chaos.schedule``.
"""
