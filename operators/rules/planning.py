"""From the text of an expression to the nodes of a plan; equal parts become one node."""

# ruff: noqa: PLR0911, PLR0912 -- one case a kind of expression and function

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar, cast

import promql_parser as parser

from operators.rules.aggregating import Aggregation, CountValues, Quantile
from operators.rules.arithmetic import SETS
from operators.rules.calendar import PARTS
from operators.rules.elementwise import EACH, Clamp, DatePart, Elementwise, Round
from operators.rules.enriching import Info, name_matchers
from operators.rules.errors import ExpressionError
from operators.rules.folding import FOLDED
from operators.rules.grammar import ADDED, with_conditions, without_trims
from operators.rules.label_sets import NAME
from operators.rules.matching import Matching, SetOperation, VectorOperation
from operators.rules.native_functions import FROM_HISTOGRAM, FromHistogram
from operators.rules.node import Node, RangeNode, ScalarNode, StringNode
from operators.rules.picking import PICKED, LimitRatio, Picking
from operators.rules.plan import EvaluationPlan
from operators.rules.quantiles import HistogramQuantiles, HistogramShare
from operators.rules.range_functions import RANGE_FUNCTIONS, RangeFunction
from operators.rules.relabelling import Absent, LabelJoin, LabelReplace, SortedByLabel, SortedVector
from operators.rules.scalars import (
    EvaluationTime,
    MixedOperation,
    Negation,
    NegativeNumber,
    NumberOperation,
    QueryTime,
    ScalarOf,
    Time,
    VectorOf,
)
from operators.rules.selecting import LabelMatcher
from operators.rules.selectors import (
    At,
    InstantSelector,
    Number,
    RangeSelector,
    Subquery,
    TimestampOf,
)

__all__ = ["Planner", "parsed"]

N = TypeVar("N", bound=Node)

_OPERATORS: Final = {
    "MatchOp.Equal": "=",
    "MatchOp.NotEqual": "!=",
    "MatchOp.Re": "=~",
    "MatchOp.NotRe": "!~",
}
_MANY: Final = {
    "VectorMatchCardinality.ManyToOne": "left",
    "VectorMatchCardinality.OneToMany": "right",
}
_PART: Final = re.compile(r"[-+*/%^(<>=!@]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_QUOTED: Final = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`""")
_MOST_PARTS: Final = 1000
_BYTE: Final = re.compile(r"\\(?:x[89a-fA-F]|[23][0-7]{2})")
_MILLISECOND: Final = datetime.timedelta(milliseconds=1)


def parsed(text: str) -> parser.Expr:
    """Return the syntax tree of an expression; operators that trim are comparisons in it.

    Raises:
        ExpressionError: it is no PromQL, with the parser's reason.
    """
    return _parsed(text)[0]


def _parsed(text: str) -> tuple[parser.Expr, list[str]]:
    """Return the syntax tree, and the operator that each ``==`` of it stands for, if some do."""
    text, operators = without_trims(with_conditions(text))
    if _BYTE.search(text):
        # The parser reads the byte as a character of that number, which is another text.
        raise ExpressionError("an escape of a byte above 127 in a text: write the character")
    parts = len(_PART.findall(_QUOTED.sub("", text)))
    if parts > _MOST_PARTS:
        # The parser ends the whole process where it goes too deep.
        raise ExpressionError(f"{parts} operators and parentheses (at most {_MOST_PARTS})")
    try:
        return parser.parse(text), operators
    except ValueError as error:
        raise ExpressionError(f"{error}") from None


def _milliseconds(duration: datetime.timedelta | None) -> int:
    return 0 if duration is None else duration // _MILLISECOND


class Planner:
    """Makes nodes for a plan, and keeps them by what they mean, so that equal ones are shared."""

    def __init__(self, plan: EvaluationPlan) -> None:
        self._plan = plan
        self._nodes: dict[tuple[Any, ...], Node] = {}
        self._reach = 0  # How far back a subquery around a selector looks, in ms.
        self._equals: Iterator[str] = iter(())

    def plan(self, text: str) -> Node:
        """Return the node for the text of an expression.

        Raises:
            ExpressionError: it is no PromQL, or something in it is not supported.
        """
        expression, operators = _parsed(text)
        self._equals = iter(operators)
        return self.node(expression)

    def node(self, expression: parser.Expr) -> Node:
        """Return the node for an expression.

        Raises:
            ExpressionError: something in it is not supported; the text says what.
        """
        match expression:
            case parser.ParenExpr():
                return self.node(expression.expr)
            case parser.NumberLiteral():
                return self._kept(Number, repr(expression.val), expression.val)
            case parser.StringLiteral():
                return self._kept(StringNode, expression.val, expression.val)
            case parser.VectorSelector():
                return self._selector(InstantSelector, expression, 0)
            case parser.MatrixSelector():
                length = _milliseconds(expression.range)
                return self._selector(RangeSelector, expression.vector_selector, length)
            case parser.SubqueryExpr():
                return self._subquery(expression)
            case parser.UnaryExpr():
                child = self.node(expression.expr)
                return self._kept(
                    NegativeNumber if isinstance(child, ScalarNode) else Negation, child, child
                )
            case parser.BinaryExpr():
                return self._binary(expression)
            case parser.AggregateExpr():
                return self._aggregation(expression)
            case parser.Call():
                return self._call(expression)
        raise ExpressionError(f"an expression of the kind {type(expression).__name__}")

    def _kept(self, kind: type[N], key: Any, *arguments: Any) -> N:
        """Return the node of a kind and key, made of the arguments if it is not there yet."""
        full = (kind, self._reach if issubclass(kind, Subquery) else 0, key)
        found = self._nodes.get(full)
        if found is None:
            found = self._nodes[full] = kind(self._plan, *arguments)
        return cast("N", found)

    def _at(self, at: Any) -> At:
        if at is None:
            return None
        if at.type == parser.AtModifierType.Start:
            return "start"
        if at.type == parser.AtModifierType.End:
            return "end"
        try:
            moment: datetime.datetime = at.at
        except BaseException as error:  # The parser panics, which is no Exception.
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise ExpressionError("@ with a time before 1970") from None
        return round(moment.timestamp() * 1000)

    def _matchers(
        self, selector: parser.VectorSelector, *, may_be_empty: bool = False
    ) -> list[LabelMatcher]:
        if selector.matchers.or_matchers:
            raise ExpressionError('"or" between the matchers of a selector, which is not PromQL')
        matchers = [
            LabelMatcher(m.name, _OPERATORS[str(m.op)], m.value)
            for m in selector.matchers.matchers
            if m.name != ADDED
        ]
        if selector.name is not None:
            matchers.insert(0, LabelMatcher(NAME, "=", selector.name))
        for matcher in matchers:
            matcher.check()
        if not may_be_empty and all(matcher.accepts("") for matcher in matchers):
            raise ExpressionError("vector selector must contain at least one non-empty matcher")
        return matchers

    def _selector(self, kind: type[N], selector: parser.VectorSelector, length: int) -> N:
        matchers = self._matchers(selector)
        offset, at = _milliseconds(selector.offset), self._at(selector.at)
        plan = self._plan
        keep = (length or plan.lookback) + max(offset, 0) + self._reach
        selection = plan.selection(matchers, keep if at is None else 0)
        key = (tuple(sorted(matchers)), length, offset, at)
        return self._kept(kind, key, matchers, length, offset, at, selection)

    def _subquery(self, expression: parser.SubqueryExpr) -> Subquery:
        length, offset = _milliseconds(expression.range), _milliseconds(expression.offset)
        step = _milliseconds(expression.step) or self._plan.default_step
        before, self._reach = self._reach, self._reach + length + max(offset, 0)
        child = self.node(expression.expr)
        self._reach = before
        at = self._at(expression.at)
        return self._kept(
            Subquery, (child, length, step, offset, at), child, length, step, offset, at
        )

    def _binary(self, expression: parser.BinaryExpr) -> Node:
        operator = str(expression.op)
        # In the order of the text, which is that of the operators beside the tree.
        left = self.node(expression.lhs)
        if operator == "==":
            operator = next(self._equals, operator)
        right = self.node(expression.rhs)
        modifier = expression.modifier
        as_bool = bool(modifier and modifier.return_bool)
        key = (operator, left, right, as_bool)
        if isinstance(left, ScalarNode) and isinstance(right, ScalarNode):
            return self._kept(NumberOperation, key, operator, left, right)
        if isinstance(left, ScalarNode) or isinstance(right, ScalarNode):
            return self._kept(MixedOperation, key, operator, left, right, as_bool)
        matching = Matching()
        if modifier is not None:
            fills = modifier.fill_values
            on: Any = modifier.matching
            matching = Matching(
                tuple(on.labels) if on else (),
                bool(on) and on.type == parser.LabelModifierType.Include,
                _MANY.get(str(modifier.card), ""),
                tuple(modifier.group_labels or ()),
                fills.lhs if fills else None,
                fills.rhs if fills else None,
            )
        if operator in SETS:
            return self._kept(SetOperation, (*key, matching), operator, left, right, matching)
        return self._kept(
            VectorOperation, (*key, matching), operator, left, right, matching, as_bool
        )

    def _aggregation(self, expression: parser.AggregateExpr) -> Node:
        function = str(expression.op)
        modifier: Any = expression.modifier
        labels = tuple(modifier.labels) if modifier else ()
        without = bool(modifier) and modifier.type == parser.AggModifierType.Without
        parameter = None if expression.param is None else self.node(expression.param)
        child = self.node(expression.expr)
        key = (function, child, parameter, labels, without)
        if function in FOLDED:
            return self._kept(Aggregation, key, function, child, labels, without)
        assert parameter is not None
        if function == "quantile":
            return self._kept(Quantile, key, parameter, child, labels, without)
        if function == "count_values":
            assert isinstance(parameter, StringNode)
            return self._kept(CountValues, key, parameter.text, child, labels, without)
        if function in PICKED:
            return self._kept(Picking, key, function, parameter, child, labels, without)
        if function == "limit_ratio":
            return self._kept(LimitRatio, key, parameter, child, labels, without)
        raise ExpressionError(f"the aggregation {function}")

    def _info(self, expression: parser.Call) -> Info:
        child = self.node(expression.args[0])
        matchers = []
        if len(expression.args) > 1:
            matchers = self._matchers(expression.args[1], may_be_empty=True)
        offset, at = _reference(child)
        chosen = [*name_matchers(matchers), *(m for m in matchers if m.name != NAME)]
        selection = self._plan.selection(chosen, self._plan.lookback + max(offset, 0) + self._reach)
        key = (tuple(sorted(chosen)), 0, offset, at)
        selector = self._kept(InstantSelector, key, chosen, 0, offset, at, selection)
        return self._kept(
            Info, (child, selector, tuple(sorted(matchers))), child, selector, matchers
        )

    def _call(self, expression: parser.Call) -> Node:
        function = expression.func.name
        if function == "info":
            return self._info(expression)
        arguments = [self.node(argument) for argument in expression.args]
        key = (function, *arguments)
        first = arguments[0] if arguments else None
        if function in RANGE_FUNCTIONS:
            ranges = [one for one in arguments if isinstance(one, RangeNode)]
            rest = [one for one in arguments if not isinstance(one, RangeNode)]
            return self._kept(RangeFunction, key, function, ranges[0], *rest)
        if function in ("absent", "absent_over_time"):
            matchers = getattr(first, "matchers", ())
            return self._kept(Absent, key, first, matchers)
        if function in EACH:
            return self._kept(Elementwise, key, EACH[function], first)
        if function in PARTS:
            return self._kept(DatePart, key, function, arguments)
        if function in ("histogram_quantile", "histogram_fraction"):
            return self._kept(HistogramShare, key, function, arguments[-1], *arguments[:-1])
        if function == "histogram_quantiles":
            label = arguments[1]
            assert isinstance(label, StringNode)
            return self._kept(HistogramQuantiles, key, first, label.text, *arguments[2:])
        if function in FROM_HISTOGRAM:
            return self._kept(FromHistogram, key, function, first)
        if function == "timestamp" and isinstance(first, InstantSelector):
            return self._kept(TimestampOf, key, first)
        made = self._simple(function, key, arguments)
        if made is None:
            raise ExpressionError(f"the function {function}()")
        return made

    def _simple(self, function: str, key: Any, arguments: list[Node]) -> Node | None:
        first = arguments[0] if arguments else None
        match function:
            case "time":
                return self._kept(Time, key)
            case "start" | "end" | "step" | "range":
                return self._kept(QueryTime, key, function)
            case "pi":
                return self._kept(Number, "pi", 3.141592653589793)
            case "scalar":
                return self._kept(ScalarOf, key, first)
            case "vector":
                return self._kept(VectorOf, key, first)
            case "max_of" | "min_of":
                return self._kept(NumberOperation, key, function, *arguments)
            case "timestamp":
                return self._kept(EvaluationTime, key, first)
            case "clamp":
                return self._kept(Clamp, key, *arguments)
            case "clamp_min":
                return self._kept(Clamp, key, first, arguments[1], None)
            case "clamp_max":
                return self._kept(Clamp, key, first, None, arguments[1])
            case "round":
                return self._kept(Round, key, first, (*arguments[1:], None)[0])
            case "sort" | "sort_desc":
                return self._kept(SortedVector, key, first, function == "sort_desc")
            case "sort_by_label" | "sort_by_label_desc":
                labels = _texts(arguments[1:])
                descending = function == "sort_by_label_desc"
                return self._kept(SortedByLabel, key, first, labels, descending)
            case "label_replace":
                return self._kept(LabelReplace, key, first, *_texts(arguments[1:]))
            case "label_join":
                label, separator, *sources = _texts(arguments[1:])
                return self._kept(LabelJoin, key, first, label, separator, sources)
        return None


def _reference(node: Node) -> tuple[int, At]:
    """Return the offset and ``@`` that all selectors of an expression have, else none."""
    found: set[tuple[int, At]] = set()
    without = False

    def visit(one: Node, around: tuple[Subquery, ...]) -> bool:
        nonlocal without
        if isinstance(one, (InstantSelector, RangeSelector)):
            offset, at = one.offset, one.fixed
            # Offsets add up from the inside, until a time is fixed.
            for subquery in reversed(around):
                if at is None:
                    offset, at = offset + subquery.offset, subquery.fixed
            found.add((offset, at))
            return True
        if isinstance(one, ScalarNode):
            return False
        if isinstance(one, Subquery):
            around = (*around, one)
        children = one.children[:1] if isinstance(one, Info) else one.children
        some = [visit(child, around) for child in children]
        without |= not any(some)
        return any(some)

    visit(node, ())
    return next(iter(found)) if len(found) == 1 and not without else (0, None)


def _texts(nodes: Sequence[Node]) -> list[str]:
    return [node.text for node in nodes if isinstance(node, StringNode)]
