"""Which alerts would have fired: ``judging`` runs the flow's scoring over a history.

``outcome`` is what came of it, ``comparing`` lays two side by side, ``page`` is a report for people.
"""
