"""Small Go programs that tests ask: built from their sources once for each machine."""

import shutil
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

from tests.backends.cache import Progress, cached
from tests.backends.process import UnavailableError

__all__ = ["built"]


def built(
    name: str,
    source: Path,
    sources: Sequence[str],
    place: str,
    program: str,
    progress: Progress,
    takes: str = "half a minute",
) -> Path:
    """Return the path of a program, building it the first time.

    Args:
        name: what people call it, for messages.
        source: the directory of its sources.
        sources: the files whose change makes it be built anew.
        place: the beginning of its directory's name in the cache.
        program: its file's name.
        progress: is told what takes long.
        takes: how long a build does.

    Raises: `UnavailableError` if Go is missing or the build fails.
    """
    checksum = zlib.crc32(b"".join((source / file).read_bytes() for file in sources))

    def build(directory: Path) -> None:
        if shutil.which("go") is None:
            raise UnavailableError(f"{name} has to be built, and `go` is not installed: install Go")
        progress(f"building {name} from its Go sources, once: {takes}")
        command = ["go", "build", "-o", str(directory / program), "."]
        done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UnavailableError(f"{name} could not be built; what Go says:\n{done.stderr}")

    return cached(f"{place}-{checksum:08x}", build, progress) / program
