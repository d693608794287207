"""The cache outside the checkout, where downloaded and built servers stay between runs."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Progress = Callable[[str], None]
"""Called with one line of text for each thing that takes long enough to be noticed."""


def silent(line: str) -> None:
    """Take a progress line and say nothing: the default of every `progress` argument."""


def cache_directory() -> Path:
    """Return `$HEADRACE_CACHE`, else `$XDG_CACHE_HOME/headrace`, else `~/.cache/headrace`.

    The directory need not exist yet.
    """
    if own := os.environ.get("HEADRACE_CACHE"):
        return Path(own).expanduser().absolute()
    # The XDG specification says that a relative path is to be ignored.
    shared = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache"
    return base / "headrace"


def cached(name: str, make: Callable[[Path], None], progress: Progress = silent) -> Path:
    """Return the cached directory `name`, calling `make` to fill it if it is not there yet.

    `make` gets an empty directory to fill. Only when it has returned does the directory take
    its name, so an interrupted download or build leaves nothing that looks finished; and of
    several processes that want the same thing at once, one makes it while the others wait.

    Raises: what `make` raises; `OSError` if the cache cannot be written.
    """
    target = cache_directory() / name
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_name(f".{target.name}.lock"), name, progress):
        if target.is_dir():
            return target
        for abandoned in target.parent.glob(f".{target.name}.making-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix=f".{target.name}.making-", dir=target.parent))
        try:
            # mkdtemp gives 0700; a server that runs as another user must be able to read it.
            making.chmod(0o755)
            make(making)
            making.rename(target)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return target


@contextmanager
def _locked(lock: Path, name: str, progress: Progress) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel releases it if this process dies."""
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another process that is preparing {name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
