"""The stages of a flow, and the contracts between them; ``flows/ARCHITECTURE.md`` is their map."""

import numba

# A string, as the variable of this name that Numba reads at its own import.
numba.config.CACHE_LOCATOR_CLASSES = ",".join(  # type: ignore[attr-defined]
    f"operators.columns.kernel_cache.{name}"
    for name in ("InGivenDirectory", "BesideSources", "OfUser")
)
