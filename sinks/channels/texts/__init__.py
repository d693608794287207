"""The texts of notifications: Go templates with Alertmanager's data, functions and names.

=================  ==============================================================
``texts``          the templates of a configuration, and the texts of a channel
``data``           what a template is about
``functions``      what it may call
``go_time``        instants, and Go's layouts of dates
``escaping``       templates whose values can't break the HTML around them
=================  ==============================================================

``default.tmpl`` has the templates that Alertmanager's users call by name.
"""

from sinks.channels.texts.data import data_of
from sinks.channels.texts.texts import Texts, UnsupportedTemplate

__all__ = ["Texts", "UnsupportedTemplate", "data_of"]
