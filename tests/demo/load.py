"""The shop's customers: a few at once, each of whom thinks between two requests.

    python -m tests.demo.load URL

They wait for their answers, so a slow shop is asked less often, as in life.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from typing import Final

import httpx

from tests.demo.service import ROUTES

__all__ = ["main"]

_CUSTOMERS: Final = 8
_WEIGHTS: Final = (5, 3, 4)
_THINK_SECONDS: Final = 0.12


def _customer(shop: str) -> None:
    with httpx.Client(base_url=shop, timeout=10) as client:
        while True:
            route = random.choices(ROUTES, _WEIGHTS)[0]
            try:
                client.get(route)
            except httpx.TransportError:
                time.sleep(1)  # the shop is closed; it may open again
            time.sleep(random.uniform(0.5, 1.5) * _THINK_SECONDS)


def main(shop: str) -> None:
    """Send customers to the shop, until SIGTERM."""
    for _ in range(_CUSTOMERS):
        threading.Thread(target=_customer, args=(shop,), daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
