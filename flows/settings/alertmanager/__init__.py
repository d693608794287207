"""Alertmanager's configuration, `alertmanager.yml`, as it is: what it may say, and how it is read.

======================  ==========================================================
``reading``             the file or the inline mapping; every fault with its place
``configuration``       the whole, and what its parts have to agree on
``routes``              the tree of routes, inhibitions, times
``receivers``           receivers and their channels
``connections``         how HTTP is spoken: who we are, TLS, a proxy
``scalars``             durations, matchers, secrets, addresses
======================  ==========================================================

What Alertmanager takes and Headrace does not is refused when it is read.
"""

from flows.settings.alertmanager.configuration import AlertmanagerConfiguration
from flows.settings.alertmanager.reading import load_file

__all__ = ["AlertmanagerConfiguration", "load_file"]
