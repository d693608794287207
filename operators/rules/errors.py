"""What can be wrong with an expression, at load and when it is evaluated."""

from __future__ import annotations

__all__ = ["EvaluationError", "ExpressionError"]


class ExpressionError(ValueError):
    """An expression that is no PromQL, or that uses what this evaluator does not have."""


class EvaluationError(ValueError):
    """An expression that has no result for the series that are there, as in Prometheus."""
