"""What a flow is wired from: sources, decoders, series, enrichment, windows, scoring, notifying."""

import numba

# A string, as the variable of this name that Numba reads at its own import.
numba.config.CACHE_LOCATOR_CLASSES = ",".join(  # type: ignore[attr-defined]
    f"operators.kernel_cache.{name}" for name in ("InGivenDirectory", "BesideSources", "OfUser")
)
