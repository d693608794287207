"""From alert events to notifications: grouping, deduplication, timing, and what was told.

    poll ─► alert ─► arrivals ─► groups ─► stages ─► courier ─► channel
                     is it news?  when?    what?     ▲             │
                                   ▲                 │ tries again │
                                   └── log ◄─────────┴── report ◄──┘

=================  ==================================================================
``alert``          an alert, from a message of the alerts topic; what is none is refused
``arrivals``       what an event means: fired, updated, resolved, repeated, out of date
``grouping``       routes, and the labels and key of an alert's group
``group``          one group: its alerts, its next flush, its log by integration
``stages``         the chain from a group to an integration; each stage decides one thing
``dedup``          the log entry, and the reasons to notify or not
``notification``   what is sent; the courier that delivers it and the report it makes
``notifier``       the state machine over all of these, with the clock
``regrouping``     groups from a snapshot, also when routes have changed
``operator``       the step of a dataflow
=================  ==================================================================

Nothing here knows a channel: those are in ``sinks.channels``, as is the delivery that tries
again. What is yet to come has its place: a route tree is another ``Routing``; inhibition, silences
and mute times are further ``Stage`` functions; telling of a resolve at once is a ``schedule`` of
the group when the event arrives.
"""
