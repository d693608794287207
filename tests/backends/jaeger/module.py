"""Programs built inside of a copy of Jaeger's Go module, with the versions that Jaeger's release has."""

import json
import shutil
import subprocess
import zlib
from pathlib import Path

from tests.backends.cache import Progress, cached
from tests.backends.process import UnavailableError

__all__ = ["VERSION", "built"]

MODULE, VERSION = "github.com/jaegertracing/jaeger", "v1.76.0"
"""The newest whose packages the module proxy serves under this name; its program ``jaeger`` is version 2."""


def built(
    name: str, package: str, place: str, progress: Progress, *, source: Path | None = None
) -> Path:
    """Return the path of a program, building it the first time.

    The packages of Jaeger are internal, and its module has replacements, so `go install` takes it
    from nowhere but inside of the module.

    Args:
        name: what people call it, for messages.
        package: its directory in the module.
        place: the beginning of its directory's name in the cache.
        progress: is told what takes long.
        source: a file that is put into the package first; None for a package of Jaeger's own.

    Raises: `UnavailableError` if there is no Go or the build fails.
    """

    def build(directory: Path) -> None:
        if shutil.which("go") is None:
            raise UnavailableError(f"{name} has to be built, and `go` is not installed: install Go")
        progress(f"building {name}, once: some minutes")
        command = ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"]
        found = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        if found.returncode:
            raise UnavailableError(f"{MODULE} {VERSION} can't be had: {found.stderr}{found.stdout}")
        copy = directory / "module"
        shutil.copytree(
            json.loads(found.stdout)["Dir"], copy, copy_function=shutil.copyfile, symlinks=True
        )
        for made in [copy, *copy.rglob("*")]:
            if made.is_dir():
                made.chmod(0o755)
        if source is not None:
            (copy / package).mkdir(parents=True)
            shutil.copyfile(source, copy / package / source.name)
        command = ["go", "build", "-buildvcs=false", "-ldflags=-s -w"]
        command += ["-o", str(directory / "program"), f"./{package}"]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        shutil.rmtree(copy)
        if done.returncode:
            raise UnavailableError(f"{name} could not be built: {done.stderr}")

    checksum = "" if source is None else f"-{zlib.crc32(source.read_bytes()):08x}"
    return cached(f"{place}-{VERSION}{checksum}", build, progress) / "program"
