"""A template: parsed once, rendered often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.templating.builtins import BUILTINS, LAZY
from operators.templating.executing import Rendering
from operators.templating.nodes import Node
from operators.templating.parsing import parse
from operators.templating.values import Function, TemplateError

__all__ = ["Template"]


class Template:
    """A text with ``{{actions}}``, as Go's ``text/template`` reads it.

    Args:
        text: the template.
        functions: what it may call, besides what every Go template has. A function raises
            `TemplateError` to say what is wrong with its arguments.
        templates: templates that it may call by ``{{template "name"}}``, as ``defined`` of
            another one gives them; those that it defines itself come first.
        largest: the most characters that a rendering may have; None is no limit.

    Raises:
        TemplateError: the text can't be parsed, or calls a function that is not there.
    """

    def __init__(
        self,
        text: str,
        functions: Mapping[str, Function] | None = None,
        templates: Mapping[str, tuple[Node, ...]] | None = None,
        largest: int | None = None,
    ) -> None:
        self.text = text
        self._functions: dict[str, Function] = {**BUILTINS, **(functions or {})}
        self._largest = largest
        self.body, defined = parse(text, self._functions.keys() | LAZY)
        self.defined: dict[str, tuple[Node, ...]] = {**(templates or {}), **defined}

    def render(self, data: Any, functions: Mapping[str, Function] | None = None) -> str:
        """Return the text for ``data``, which is the dot.

        Args:
            data: what the template is about.
            functions: functions that take the place of those of the same names.

        Raises:
            TemplateError: a value is not of the kind that the template needs; the text names the
                line and the reason.
        """
        table = {**self._functions, **functions} if functions else self._functions
        try:
            return Rendering(table, self.defined, self._largest).render(self.body, data)
        except RecursionError:
            raise TemplateError("the template calls itself too deeply") from None
