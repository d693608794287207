"""No garbage is looked for while a flow starts, nor when it ends.

What imports make stays: hundreds of thousands of objects, which Python looks through again and again while they
become more, and once more at the end. That was a fifth of the CPU of a start.
"""

from __future__ import annotations

import atexit
import gc
import sys

__all__ = ["leave_garbage_at_start", "look_for_garbage_again"]


def leave_garbage_at_start() -> None:
    """Look for no garbage from now on, if this process is Bytewax's runner and runs one of our flows.

    All of them call ``flows.process.serve``, which calls ``look_for_garbage_again``.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None or spec.name != "bytewax.run":
        return
    if any(argument.startswith("flows.") for argument in sys.argv[1:]):
        gc.disable()


def look_for_garbage_again() -> None:
    """Look for garbage among what is made from now on; nothing if it was never left.

    What is there by now is not looked at any more. When the process ends, nothing is.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
        atexit.register(gc.freeze)
