"""The compose file as Compose itself reads it: merged, interpolated, checked against its schema.

`docker compose` does that where it is installed. Elsewhere the loader that is inside it does, built
once (`composeloader`) into the cache, in about ten seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.backends.cache import cached

LOADER = Path(__file__).with_name("composeloader")


class NoComposeError(Exception):
    """Nothing on this machine can read a compose file as Compose does."""


def command() -> list[str]:
    """Return the command that prints a compose file as JSON; its path is to be added.

    Raises:
        NoComposeError: neither Docker Compose nor Go, or the module cannot be had.
    """
    docker = shutil.which("docker")
    asked = [docker, "compose", "version"] if docker else ["false"]
    if subprocess.run(asked, check=False, capture_output=True).returncode == 0:
        return [*asked[:2], "--file", "{file}", "config", "--format", "json"]
    go = shutil.which("go")
    if go is None:
        raise NoComposeError("needs the Docker Compose plugin, or Go to build its loader")

    def build(directory: Path) -> None:
        subprocess.run(
            [go, "build", "-o", str(directory), "."], cwd=LOADER, check=True, capture_output=True
        )

    digest = hashlib.sha256()
    for source in ("go.sum", "main.go"):
        digest.update((LOADER / source).read_bytes())
    try:
        program = cached(f"composeloader-{digest.hexdigest()[:12]}", build) / "composeloader"
    except subprocess.CalledProcessError as error:
        raise NoComposeError(f"its loader cannot be built: {error.stderr.decode()}") from None
    return [str(program), "{file}"]


def read(file: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Read a compose file with no other variables than these."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [part.replace("{file}", str(file)) for part in command()],
        cwd=file.parent,
        env=kept | dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )


def model(file: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the compose file as data.

    Raises:
        ValueError: Compose refuses it; the text is its own.
    """
    done = read(file, environment)
    if done.returncode != 0:
        raise ValueError(done.stderr)
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded
