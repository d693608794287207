"""From alert events to notifications: grouping, holding back, deduplication, and what was told.

    alerts ───► arrivals ─► groups ─► stages ─► courier ─► channel
    commands ─┐ is it news?  when?    what?     ▲             │
              └► silences, acknowledgements ──┘ │ tries again │
                              ▲                 │             │
                              └── log ◄─────────┴── report ◄──┘

==================  ==================================================================
``alert``           an alert, from a message of the alerts topic; what is none is refused
``arrivals``        what an event means: fired, updated, resolved, repeated, out of date
``matchers``        what labels have to be like, in both of Alertmanager's notations
``routes``          the tree of routes, and why an alert takes which
``grouping``        a route, and the labels and key of an alert's group
``group``           one group: its alerts, its next flush, its log by integration
``stages``          the chain from a group to an integration; each stage decides one thing
``holds``           the stages that hold back alerts, and why
``inhibition``, ``silences``, ``intervals``, ``acknowledgements``   what they go by
``correlation``, ``incidents``, ``members``   alerts of one cause, of which the root is told
``escalation``      whom to tell next
``rotas``, ``calendars``   who is on call: in turns, or by the shifts of a calendar
``digest``          a summary at stated times instead
``flapping``        alerts that fire and resolve again and again, held as one notification
``command``, ``obeying``   what people ask for, and what it does
``dedup``           the log entry, and the reasons to notify or not
``causes``          what is behind an alert of a service, by the flow of traces
``notification``    what is sent; the courier that delivers it and the report it makes
``chronicle``, ``journal``   records of what came of flushes, and how much noise was spared
``notifier``        the state machine over all of these, with the clock
``regrouping``      groups from a snapshot, also when routes have changed
``step``            the step of a dataflow
==================  ==================================================================

Nothing here knows a channel: those are in ``sinks.channels``, as is the delivery that tries
again. ``command.schema.json``, ``notification.schema.json`` and ``incident.schema.json`` describe
what others write and read.
"""
