"""Evaluates expressions over a store: as a plan whose equal parts are one, and worked out once."""

from __future__ import annotations

import numpy as np

from operators.rules.errors import EvaluationError, ExpressionError
from operators.rules.frame import InstantVector, Range
from operators.rules.label_sets import Ids, LabelSets, groups_of
from operators.rules.node import (
    KeptByLabels,
    Node,
    RangeNode,
    ScalarNode,
    StringNode,
    check_distinct,
)
from operators.rules.plan import EvaluationPlan, Note
from operators.rules.planning import Planner
from operators.rules.store import SeriesStore

__all__ = ["Evaluator", "Expression", "Note"]


class Evaluator(EvaluationPlan):
    """A plan of many expressions over one store; see `Plan` for what it can be told."""

    def __init__(
        self,
        store: SeriesStore,
        lookback: int = 5 * 60_000,
        default_step: int = 60_000,
        delayed_name_removal: bool = False,
    ) -> None:
        super().__init__(store, lookback, default_step, delayed_name_removal)
        self._planner = Planner(self)

    def expression(self, text: str) -> Expression:
        """Return an expression of the plan.

        Raises:
            ExpressionError: it is no PromQL, or something in it is not supported.
        """
        try:
            return Expression(self, text, self._planner.plan(text))
        except RecursionError:
            raise ExpressionError("it is nested too deeply") from None


class Expression:
    """One expression of a plan."""

    def __init__(self, plan: Evaluator, text: str, node: Node) -> None:
        self.plan = plan
        self.text = text
        self.node = node
        self._finished = KeptByLabels(_finished)

    @property
    def is_scalar(self) -> bool:
        """Whether the result is one number, and not an instant vector."""
        return isinstance(self.node, ScalarNode)

    @property
    def is_range(self) -> bool:
        """Whether the result is a range vector, which is for looking at only: see `over`."""
        return isinstance(self.node, RangeNode)

    def over(self, time: int) -> Range:
        """Return the range vector that ends at a time (ms)."""
        self.plan.start = self.plan.end = time
        result: Range = self.node.at(time)
        return result

    @property
    def string(self) -> str | None:
        """The result if it is a text."""
        return self.node.text if isinstance(self.node, StringNode) else None

    def at(
        self, time: int, start: int | None = None, end: int | None = None, step: int = 0
    ) -> InstantVector:
        """Return the result at a time (ms); that of a number is a series without labels.

        Args:
            time: the time of the evaluation.
            start: what ``@ start()`` means; the same time if it is not given.
            end: what ``@ end()`` means.
            step: what ``step()`` means, in ms.

        Raises:
            EvaluationError: there is no result, as in Prometheus; the text says why.
        """
        plan = self.plan
        plan.start, plan.end = time if start is None else start, time if end is None else end
        plan.step = step
        if isinstance(self.node, (StringNode, RangeNode)):
            kind = "a text" if isinstance(self.node, StringNode) else "a range vector"
            raise EvaluationError(f"the result is {kind}")
        try:
            result = self.node.at(time)
        except RecursionError:
            raise EvaluationError("it is nested too deeply") from None
        if not isinstance(result, InstantVector):
            return InstantVector(plan.no_labels, np.array([result]), np.ones(1, np.bool_))
        if result.sets.dropped is None:
            return result
        sets, groups = self._finished(result.sets)
        if groups is not None:
            check_distinct(groups, result.present)
        return result._replace(sets=sets)


def _finished(sets: LabelSets) -> tuple[LabelSets, Ids | None]:
    finished = sets.finished()
    groups, first = groups_of(finished.signatures())
    return finished, None if len(first) == finished.size else groups
