"""Where compiled loops are kept, and when one has to be compiled again.

Numba keeps what it compiled on disk, with a stamp of the file that the loop stands in. Loops of
other files that are called in it are compiled into it, but not looked at: after an update it would
run with their old code. So the stamp is made of all files of ours that a file imports, too.

What is on disk names classes of ours. Numba reads all of it before it looks at the stamp, and fails
where a class has got another name meanwhile. So the last stamp is in a file beside, and where it is
another, what Numba knows of the file's loops is removed first.

``operators/__init__.py`` tells Numba of these classes. The places are Numba's own: the directory
that ``NUMBA_CACHE_DIR`` names, else beside the sources, else a cache of the user.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from numba.core.caching import InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator

__all__ = ["BesideSources", "InGivenDirectory", "OfUser", "stamp"]

_IMPORT: Final = re.compile(r"^(?:from|import) ([\w.]+)", re.MULTILINE)


@cache
def stamp(path: Path) -> bytes:
    """Return a hash of a source file and of those of its project that it imports, and they."""
    found = {path}
    unread = [path]
    digest = sha256()
    while unread:
        new = _source(unread.pop())[1] - found
        found |= new
        unread += new
    for file in sorted(found):
        digest.update(_source(file)[0])
    return digest.digest()


@cache
def _source(path: Path) -> tuple[bytes, frozenset[Path]]:
    """Return a hash of a source file, and the files of its project that it imports."""
    content = path.read_bytes()
    root = _project(path.parent)
    modules = (root.joinpath(*name.split(".")) for name in _IMPORT.findall(content.decode("utf-8")))
    candidates = (
        file for module in modules for file in (module.with_suffix(".py"), module / "__init__.py")
    )
    return sha256(content).digest(), frozenset(filter(_is_file, candidates))


@cache
def _is_file(path: Path) -> bool:
    return path.is_file()


@cache
def _project(folder: Path) -> Path:
    """Return the folder that the outermost package around ``folder`` lies in."""
    return _project(folder.parent) if (folder / "__init__.py").exists() else folder


@cache
def _remove_other(folder: Path, name: str, current: bytes) -> None:
    """Remove what Numba knows of a file's loops, unless that is of the same sources."""
    mark = folder / f"{name}.sources"
    with suppress(OSError):  # nobody may write there, or nothing is kept yet
        if not folder.is_dir() or (mark.exists() and mark.read_bytes() == current):
            return
        for index in folder.glob(f"{name}.*.nbi"):
            index.unlink(missing_ok=True)
        mark.write_bytes(current)


class _OfAllSources:
    _py_file: str
    get_cache_path: Callable[[], str]

    def get_source_stamp(self) -> bytes:
        """Return what must not have changed."""
        source = Path(self._py_file)
        _remove_other(Path(self.get_cache_path()), source.stem, stamp(source))
        return stamp(source)


class InGivenDirectory(_OfAllSources, UserProvidedCacheLocator):
    """Keeps it where ``NUMBA_CACHE_DIR`` says, if it does."""


class BesideSources(_OfAllSources, InTreeCacheLocator):
    """Keeps it in ``__pycache__``, if that can be written."""


class OfUser(_OfAllSources, UserWideCacheLocator):
    """Keeps it in the user's cache."""
