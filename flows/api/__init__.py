"""The notifier's HTTP service: Alertmanager's API v2, what goes beyond it, and one page.

==============  ===============================================================
``service``     the application: who may call, errors, the page
``alertmanager``  Alertmanager's API v2, as amtool, Grafana and Karma speak it
``beyond``      acknowledge, snooze, incidents, noise
``view``        what the notifier knows, as the API tells it
``asking``      commands and alerts on their way to the topics
``access``      tokens, roles, and who asks
``server``      the server on a thread of the flow's process
==============  ===============================================================
"""

from flows.api.server import serve_api

__all__ = ["serve_api"]
