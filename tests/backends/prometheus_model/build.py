"""Builds `model` from Prometheus's Go module: half a minute, once for each machine."""

import shutil
import subprocess
import zlib
from pathlib import Path

from flows.demo.cache import Progress, cached, silent
from flows.demo.process import UnavailableError

NAME = "Prometheus's model"
SOURCES = ("main.go", "go.mod", "go.sum")


def model(progress: Progress = silent) -> Path:
    """Return the path of `model`, building it the first time.

    Raises: `UnavailableError` if Go is missing or the build fails.
    """
    source = Path(__file__).parent
    checksum = zlib.crc32(b"".join((source / name).read_bytes() for name in SOURCES))

    def build(directory: Path) -> None:
        if shutil.which("go") is None:
            raise UnavailableError(f"{NAME} has to be built, and `go` is not installed: install Go")
        progress(f"building {NAME} from its Go module, once: half a minute")
        command = ["go", "build", "-o", str(directory / "model"), "."]
        built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
        if built.returncode:
            raise UnavailableError(f"{NAME} could not be built; what Go says:\n{built.stderr}")

    return cached(f"prometheus-model-{checksum:08x}", build, progress) / "model"
