"""The stages of a log record: parsed, scrubbed, grouped into templates, exceptions tracked."""
