"""The dataflows, one thin module each, their settings and the command line."""
