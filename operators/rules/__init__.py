"""Prometheus' rules: expressions over recent samples, alerts, recorded series, and their files.

``evaluator`` is where to begin: a store of series (``store``), a plan of expressions over it
(``planning`` makes nodes of syntax trees), label sets apart from numbers (``label_sets``,
``frame``). ``files`` reads rule files, ``groups`` runs them, ``unit_tests`` tests them.

In the flows ``tap`` takes the points that rules select (``selected``), under the names that they have
in Prometheus (``naming``), and ``step`` evaluates groups as event time passes: ``arrivals`` says which
samples an evaluation sees, ``running`` has store and groups of a tenant, ``placement`` says which
groups stand on which shard. ``backtest`` runs the same step over history.
"""
