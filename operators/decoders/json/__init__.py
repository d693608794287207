"""Formats that are JSON: collectd, Telegraf, Vector; and the scanner that all of them share."""
