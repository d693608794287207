"""Where compiled loops are kept, and when one has to be compiled again.

Numba keeps what it compiled on disk, with a stamp of the file that the loop stands in. Loops of
other files that are called in it are compiled into it, but not looked at: after an update it would
run with their old code. So the stamp is made of all files of ours that a file imports, too.

``operators/__init__.py`` tells Numba of these classes. The places are Numba's own: the directory
that ``NUMBA_CACHE_DIR`` names, else beside the sources, else a cache of the user.
"""

from __future__ import annotations

import re
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
    root = path.parent
    while (root / "__init__.py").exists():
        root = root.parent
    found = {path}
    unread = [path]
    while unread:
        for name in _IMPORT.findall(unread.pop().read_text(encoding="utf-8")):
            module = root.joinpath(*name.split("."))
            for file in (module.with_suffix(".py"), module / "__init__.py"):
                if file not in found and file.exists():
                    found.add(file)
                    unread.append(file)
    digest = sha256()
    for file in sorted(found):
        digest.update(file.read_bytes())
    return digest.digest()


class _OfAllSources:
    _py_file: str

    def get_source_stamp(self) -> bytes:
        """Return what must not have changed."""
        return stamp(Path(self._py_file))


class InGivenDirectory(_OfAllSources, UserProvidedCacheLocator):
    """Keeps it where ``NUMBA_CACHE_DIR`` says, if it does."""


class BesideSources(_OfAllSources, InTreeCacheLocator):
    """Keeps it in ``__pycache__``, if that can be written."""


class OfUser(_OfAllSources, UserWideCacheLocator):
    """Keeps it in the user's cache."""
