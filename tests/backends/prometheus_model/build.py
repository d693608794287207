"""Builds `model` from Prometheus's Go module: half a minute, once for each machine."""

from pathlib import Path

from tests.backends.cache import Progress, silent
from tests.backends.go_program import built

NAME = "Prometheus's model"
SOURCES = ("main.go", "go.mod", "go.sum")


def model(progress: Progress = silent) -> Path:
    """Return the path of `model`, building it the first time.

    Raises: `UnavailableError` if Go is missing or the build fails.
    """
    return built(NAME, Path(__file__).parent, SOURCES, "prometheus-model", "model", progress)
