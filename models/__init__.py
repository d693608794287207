"""Detectors: one file each. To add one: write its file, and a line in the table of ``named``."""

import numba

# Compiled loops of several files are kept by the stamp of all of them, see the named module. It is
# named, not imported: Numba asks for it when it has compiled something.
numba.config.CACHE_LOCATOR_CLASSES = ",".join(  # type: ignore[attr-defined]
    f"operators.columns.kernel_cache.{name}"
    for name in ("InGivenDirectory", "BesideSources", "OfUser")
)
