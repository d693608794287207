"""Go's ``text/template``: the language in which rule files and notification texts are written.

``Template`` parses once and renders often; ``functions`` are passed in, as in Go. What a template
reaches are plain values: text, numbers, lists, mappings, and ``Object`` for a Go struct.

>>> from operators.templating import Template
>>> Template('{{ range $i, $e := . }}{{ $i }}={{ $e | printf "%.1f" }} {{ end }}').render([1.0, 2.5])
'0=1.0 1=2.5 '
"""

from operators.templating.template import Template
from operators.templating.values import Function, List, Map, Object, TemplateError

__all__ = ["Function", "List", "Map", "Object", "Template", "TemplateError"]
