"""The real Elasticsearch and InfluxDB for tests, on a machine without Docker."""

import os


def in_ci() -> bool:
    """Say whether this is a CI run, where a missing server is an error and not a skip."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}
