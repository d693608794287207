"""The templates of a configuration, and what channels make of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from operators.contracts.clock import Clock
from operators.notifying.notification import Notification
from operators.templating import Object, Template, TemplateError
from operators.templating.nodes import Flow, Node, TemplateCall
from sinks.channels.texts.data import data_of
from sinks.channels.texts.escaping import ESCAPES, escaped
from sinks.channels.texts.functions import functions

__all__ = ["Text", "Texts", "UnsupportedTemplate"]

LARGEST: Final = 1_000_000
"""Characters that one text may have."""


class UnsupportedTemplate(ValueError):
    """A template that can't be read; says which, in which line, and why."""


class Text:
    """A template of one field of a channel."""

    def __init__(self, template: Template | None) -> None:
        self._template = template

    def __call__(self, data: Object) -> str:
        """Return the text for a notification.

        Raises:
            TemplateError: a value is not of the kind that the template needs.
        """
        return "" if self._template is None else self._template.render(data)


class Texts:
    """Makes texts, with the default templates and those of files.

    Args:
        patterns: of the files, as shells have them; one that no file is like is not an error.
        external_url: what links in texts begin with.
        clock: what ``since`` counts by.

    Raises:
        UnsupportedTemplate: a file can't be read as templates.
    """

    def __init__(
        self, patterns: Iterable[str] = (), external_url: str = "", clock: Clock | None = None
    ) -> None:
        self._external_url = external_url
        self._functions = {**functions(clock), **ESCAPES}
        own = resources.files(__package__)
        self._defined = self._parse(
            (own / "default.tmpl").read_text("utf-8"), "default.tmpl"
        ).defined
        named: dict[str, str] = dict.fromkeys(self._defined, "default.tmpl")
        for pattern in patterns:
            for name in _files(pattern):
                file = Path(name)
                try:
                    text = file.read_text(encoding="utf-8")
                except (OSError, UnicodeDecodeError) as error:
                    raise UnsupportedTemplate(f"{name}: cannot be read: {error}") from None
                made = self._parse(text, name)
                before = self._defined
                self._defined = made.defined
                named.update(
                    {key: name for key, nodes in made.defined.items() if before.get(key) != nodes}
                )
        for name, nodes in self._defined.items():
            self._check_calls(nodes, self._defined.keys(), f"{named[name]}: {name}")
        self._escaped = {name: escaped(nodes) for name, nodes in self._defined.items()}

    def data(self, notification: Notification) -> Object:
        """Return what templates are about."""
        return data_of(notification, self._external_url)

    def text(self, template: str) -> Text:
        """Return a template of plain text.

        Raises:
            UnsupportedTemplate: it can't be read, or calls what is not there.
        """
        return Text(self._field(template))

    def html(self, template: str) -> Text:
        """Return a template of HTML: the values that it prints are escaped.

        Raises:
            UnsupportedTemplate: it can't be read, or calls what is not there.
        """
        made = self._field(template)
        return Text(None if made is None else _Escaped(made, self._escaped))

    def _field(self, template: str) -> Template | None:
        if not template:
            return None
        made = self._parse(template, "")
        self._check_calls(made.body, made.defined.keys(), "")
        return made

    def _parse(self, text: str, place: str) -> Template:
        try:
            defined = getattr(self, "_defined", None)
            return Template(text, self._functions, defined, LARGEST)
        except TemplateError as error:
            raise UnsupportedTemplate(f"{place}: {error}" if place else str(error)) from None

    def _check_calls(self, nodes: Sequence[Node], there: Iterable[str], place: str) -> None:
        for node in nodes:
            if isinstance(node, TemplateCall) and node.name not in there:
                at = f"{place}: " if place else ""
                raise UnsupportedTemplate(
                    f'{at}line {node.line}: there is no template "{node.name}"'
                )
            if isinstance(node, Flow):
                self._check_calls((*node.body, *node.otherwise), there, place)


def _files(pattern: str) -> list[str]:
    """Return the files that a pattern stands for."""
    path = Path(pattern)
    return sorted(map(str, Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)))))


class _Escaped(Template):
    """A template that was read already, and prints its values escaped."""

    def __init__(self, plain: Template, shared: dict[str, tuple[Node, ...]]) -> None:
        self.__dict__.update(plain.__dict__)
        self.body = escaped(plain.body)
        own = {name: escaped(nodes) for name, nodes in plain.defined.items() if name not in shared}
        self.defined = {**shared, **own}
