"""Lines of web servers and of syslog: their parts by regular expressions, a column each."""

from __future__ import annotations

from typing import Final

import polars as pl

from operators.columns.json_text import quoted

__all__ = [
    "ACCESS",
    "access_fields",
    "container_fields",
    "facility_names",
    "is_access_line",
    "is_container_line",
    "is_syslog_line",
    "syslog_fields",
]

_ACCESS_START: Final = r"^\S+ \S+ [^\[\n]*\[[0-9]{2}/[A-Za-z]{3}/[0-9]{4}:"
ACCESS: Final = (
    r"^(?P<client>\S+) \S+ (?P<user>[^\[\n]*?) \[(?P<time>[^\]]+)\] "
    r'"(?:(?P<method>[A-Z]+) )?(?P<path>[^"]*?)(?: HTTP/(?P<version>[0-9.]+))?" '
    r'(?P<status>[0-9]{3}) (?P<bytes>[0-9]+|-)(?: "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?'
)
"""The combined and the common format of nginx and Apache."""

_SYSLOG: Final = (
    r"^<(?P<priority>[0-9]{1,3})>(?:"
    r"1 (?P<time5>\S+) (?P<host5>\S+) (?P<app5>\S+) (?P<process5>\S+) (?P<id5>\S+) "
    r"(?P<data>-|(?:\[(?:[^\]\\]|\\.)*\])+)(?: (?P<message5>(?s:.*)))?"
    r"|(?P<time3>[A-Z][a-z]{2} [ 0-9][0-9](?: [0-9]{4})? [0-9:]{8}(?:\.[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}T\S+) "
    r"(?:(?P<host3>[^\s:\[]+) )?(?:(?P<app3>[A-Za-z0-9_./-]+)(?:\[(?P<process3>[^\]]*)\])?: ?)?"
    r"(?P<message3>(?s:.*))"
    r"|(?P<rest>(?s:.*)))$"
)
_CONTAINER: Final = (
    r"^(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T\S+) (?P<stream>stdout|stderr) (?P<tag>[FP])(?::\S*)? ?"
    r"(?P<message>(?s:.*))$"
)
"""A line of a container's log file, as the runtimes of Kubernetes write it (CRI)."""
_ESCAPED: Final = r'["\\\x00-\x1f]'
_FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
)  # fmt: skip


def facility_names() -> tuple[str, ...]:
    """Return the facilities of syslog by number (RFC 5424, table 1)."""
    return _FACILITIES


def is_access_line(body: pl.Expr) -> pl.Expr:
    """Say which lines begin as those of web servers do."""
    return body.str.contains(_ACCESS_START)


def is_syslog_line(body: pl.Expr) -> pl.Expr:
    """Say which lines begin with the priority of a syslog message."""
    return body.str.contains(r"^<[0-9]{1,3}>")


def is_container_line(body: pl.Expr) -> pl.Expr:
    """Say which lines begin as those of a container's log file."""
    return body.str.contains(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T\S+ std(?:out|err) [FP](?:[: ]|$)")


def container_fields(body: pl.Series) -> pl.DataFrame:
    """Return ``time``, ``message`` and ``attributes``: the stream, and whether it is part of a line."""
    parts = body.str.extract_groups(_CONTAINER).struct.unnest()
    return parts.select(
        "time",
        pl.col("message").fill_null(""),
        attributes=pl.concat_str(
            pl.lit('{"log.iostream":"'), "stream", pl.lit('","logtag":"'), "tag", pl.lit('"}')
        ),
    )


def _object(pairs: dict[str, pl.Expr]) -> pl.Expr:
    """Return a JSON object of the pairs whose value is not null; values are JSON."""
    members = [
        pl.when(value.is_not_null()).then(pl.format('"{}":{}', pl.lit(key), value))
        for key, value in pairs.items()
    ]
    inner = pl.concat_str(members, separator=",", ignore_nulls=True)
    return (
        pl.when(inner != "")
        .then(pl.concat_str(pl.lit("{"), inner, pl.lit("}")))
        .otherwise(pl.lit(""))
    )


def _text(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Return a part as JSON text, null where it is absent or ``-``."""
    there = pl.when(pl.col(name).is_not_null() & ~pl.col(name).is_in(["", "-"])).then(name)
    # To look whether anything has to be escaped costs a tenth of escaping, and seldom anything has.
    plain = not frame[name].str.contains(_ESCAPED).any()
    return pl.concat_str(pl.lit('"'), there, pl.lit('"')) if plain else quoted(there)


def access_fields(body: pl.Series) -> pl.DataFrame:
    """Return ``time``, ``status`` (null where a line is none after all) and ``attributes``."""
    parts = body.str.extract_groups(ACCESS).struct.unnest()
    number = pl.when(pl.col("bytes") != "-").then(pl.col("bytes").str.replace(r"^0+([0-9])", "$1"))
    return parts.select(
        "time",
        pl.col("status").cast(pl.Int32, strict=False),
        attributes=_object(
            {
                "client.address": _text(parts, "client"),
                "user.name": _text(parts, "user"),
                "http.request.method": _text(parts, "method"),
                "url.original": _text(parts, "path"),
                "network.protocol.version": _text(parts, "version"),
                "http.response.status_code": pl.col("status"),
                "http.response.body.size": number,
                "http.request.header.referer": _text(parts, "referrer"),
                "user_agent.original": _text(parts, "agent"),
            }
        ),
    )


def syslog_fields(body: pl.Series) -> pl.DataFrame:
    """Return ``time``, ``priority``, ``app``, ``host``, ``message`` and ``attributes``.

    Of RFC 5424 and of RFC 3164; what is neither is message behind its priority. ``time`` is null where
    there is none.
    """
    parts = body.str.extract_groups(_SYSLOG).struct.unnest()

    def either(name: str) -> pl.Expr:
        value = pl.coalesce(f"{name}5", f"{name}3")
        return pl.when(~value.is_in(["", "-"])).then(value)

    parts = parts.with_columns(
        pl.col("priority").cast(pl.Int32, strict=False),
        time=either("time"),
        host=either("host"),
        app=either("app"),
        process=either("process"),
        id=pl.when(pl.col("id5") != "-").then("id5"),
        structured=pl.when(pl.col("data") != "-").then("data"),
        message=pl.coalesce("message5", "message3", "rest", pl.lit("")).str.strip_prefix("\ufeff"),
    )
    valid = pl.col("priority") < 192
    facility = pl.when(valid).then(
        (pl.col("priority") // 8).replace_strict(
            dict(enumerate(_FACILITIES)), default=None, return_dtype=pl.String
        )
    )
    parts = parts.with_columns(facility=facility)
    return parts.select(
        "time",
        "host",
        "app",
        "message",
        priority=pl.when(valid).then("priority"),
        attributes=_object(
            {
                "syslog.facility": _text(parts, "facility"),
                "host.name": _text(parts, "host"),
                "syslog.appname": _text(parts, "app"),
                "syslog.procid": _text(parts, "process"),
                "syslog.msgid": _text(parts, "id"),
                "syslog.structured_data": _text(parts, "structured"),
            }
        ),
    )
