"""Compile every loop of the flow ``metrics``, so that no flow has to do it at its start.

``python -m flows.warm_up`` is run once where Headrace is installed. What is compiled is kept on
disk: beside the sources, or in ``NUMBA_CACHE_DIR``. It takes about a minute of one core.
"""

from __future__ import annotations

from flows.settings import Enrichment, Scoring
from operators import scoring
from operators.decoders import DECODERS
from operators.warm_up import compile_kernels

__all__ = ["main"]


def main() -> None:
    """Compile what any settings of the flow may need."""
    compile_kernels(DECODERS, Enrichment())
    scoring.compile_kernels(Scoring())


if __name__ == "__main__":
    main()
