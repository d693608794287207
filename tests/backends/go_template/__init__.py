"""Go's own ``text/template``: the oracle for ``operators.templating``."""
