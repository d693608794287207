"""Exceptions: from the text of a stack trace to what makes two of them the same.

Java, Python, Node and browsers, Go and .NET write their traces each in a way of their own; what comes
of all is a chain of exceptions, the outermost first, each with its type, message and frames. The
fingerprint is of the types and of the frames of one's own code, without what differs from build to
build or from call to call: line numbers, generated names, hashes in file names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
import polars as pl

from operators.columns.text_column import text_column
from operators.logs.exceptions.trace_signs import MAY_BEGIN, SEVERAL_LINES, trace_signs
from operators.logs.templates.masking import masked_texts

__all__ = ["VERSION", "CallFrame", "Raised", "Trace", "fingerprint", "is_trace", "read_trace"]

VERSION: Final = 1
"""Of the fingerprint; a group keeps that of the version which made it."""

_MOST_FRAMES: Final = 100
_MOST_CAUSES: Final = 16
_LONGEST: Final = 64 << 10

_TRACE_START: Final = (
    r"\s*at [^\n]+[(:][^\n]*$|Traceback \(most recent call last\)|goroutine [0-9]+ \[|panic: "
    r"|Caused by: |\s*File \"[^\"]+\", line [0-9]+"
)
_TYPE: Final = r"(?:[A-Za-z_$][\w$]*\.)*[A-Za-z_$][\w$`+]*"
_HEAD: Final = re.compile(
    rf"^(?:Exception in thread \"[^\"]*\" |Uncaught |Unhandled exception\. |Unhandled Exception: )?"
    rf"({_TYPE})(?::\s?(.*))?$"
)
_CAUSE: Final = re.compile(rf"^(?:Caused by|Suppressed): ({_TYPE})(?::\s?(.*))?$")
_INNER: Final = re.compile(rf"^\s*-+> ({_TYPE})(?::\s?(.*))?$")
_FRAME: Final = re.compile(r"^\s*at (?:async |new )?(.+?)\s*$")
_JAVA: Final = re.compile(r"^([\w.$<>/@-]+)\(([^()]*)\)(?:\s*~?\[.*\])?$")
_NET: Final = re.compile(r"^([\w.`+<>|\[\],]+)\((.*)\)(?: in (.+?)(?::line \d+)?)?$")
_NODE: Final = re.compile(
    r"^(?:(.+?) \()?((?:[\w+.-]+://?|/|\.|[A-Za-z]:\\|node:|webpack|<).*?):\d+(?::\d+)?\)?$"
)
_PYTHON: Final = re.compile(r'^\s*File "([^"]+)", line \d+(?:, in (.+))?$')
_GO_CALL: Final = re.compile(r"^([\w./*()-]+\.[\w.*()\[\]-]+)\((?:.*)\)$|^created by ([\w./*()-]+)")
_GO_FILE: Final = re.compile(r"^\s+(\S+\.go):\d+")

_GENERATED: Final = (
    (re.compile(r"\$\$?Lambda(?:\$\d+)?(?:/0x[0-9a-f]+|/\d+)?"), "$Lambda"),
    (re.compile(r"lambda\$(\w+)\$\d+"), r"lambda$\1"),
    (re.compile(r"\$\$(?:EnhancerBy|FastClassBy|SpringCGLIB)[\w$]*"), "$$Generated"),
    (re.compile(r"(\$Proxy|Generated\w*Accessor)\d+"), r"\1"),
    (re.compile(r"<(\w+)>[a-z]__\d+(?:_\d+)?"), r"<\1>"),
    (re.compile(r"access\$\d+"), "access"),
    (re.compile(r"\bfunc\d+(?:\.\d+)*"), "func"),
    (re.compile(r"0x[0-9a-f]+"), "0x"),
)
_HASH_IN_NAME: Final = re.compile(r"[.-](?=[0-9a-f]*\d)[0-9a-f]{6,}(?=\.)|\?.*$")

_LIBRARIES: Final = (
    "java.", "javax.", "jakarta.", "jdk.", "sun.", "com.sun.", "org.springframework.", "org.apache.",
    "org.hibernate.", "org.eclipse.", "org.jboss.", "io.netty.", "io.micrometer.", "reactor.", "kotlin.",
    "kotlinx.", "scala.", "akka.", "com.fasterxml.", "com.google.common.", "com.zaxxer.", "org.postgresql.",
    "com.mysql.", "net.sf.cglib.", "System.", "Microsoft.", "Npgsql.", "runtime.", "net/http.", "reflect.",
    "testing.", "syscall.", "database/sql.", "encoding/", "google.golang.org/", "golang.org/x/",
)  # fmt: skip
_LIBRARY_PATHS: Final = (
    "site-packages/", "dist-packages/", "lib/python", "node_modules/", "node:", "internal/", "<frozen ",
    "/usr/local/go/src/", "/vendor/", "webpack/bootstrap",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CallFrame:
    """One call: the function, as far as its name is stable, and the file or module it is in."""

    function: str
    file: str
    own: bool


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception of a chain; its frames are the innermost call first."""

    type: str
    message: str
    frames: tuple[CallFrame, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """A chain of exceptions, the outermost first."""

    raised: tuple[Raised, ...]

    @property
    def title(self) -> str:
        """Return the type of what caused all."""
        return self.raised[-1].type

    @property
    def culprit(self) -> str:
        """Return the innermost function of one's own, of any if there is none."""
        frames = [frame for each in reversed(self.raised) for frame in each.frames]
        return next(
            (frame.function for frame in frames if frame.own), frames[0].function if frames else ""
        )


def is_trace(texts: pl.Series) -> pl.Series:
    """Say which texts hold a stack trace."""
    signs = trace_signs(*text_column(texts))
    found = np.zeros(len(texts), np.bool_)
    for sign, flag in ((MAY_BEGIN, ""), (SEVERAL_LINES, "(?m)")):
        rows = np.flatnonzero(signs == sign)
        if len(rows):
            found[rows] = texts[rows].str.contains(rf"{flag}^(?:{_TRACE_START})").to_numpy()
    return pl.Series(found)


def read_trace(text: str, own: Sequence[str] = ()) -> Trace:
    """Read a stack trace, or the type and message of an exception.

    Args:
        text: as it was logged, perhaps behind other lines.
        own: beginnings of packages, modules or paths that are one's own, whatever else they are.

    Returns:
        One exception at least; where nothing of a trace is found, one without a type.
    """
    lines = text[:_LONGEST].splitlines()
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        raised = _python(lines, own)
    elif any(re.match(r"^goroutine \d+ \[", line) for line in lines):
        raised = _go(lines, own)
    else:
        raised = _with_at(lines, own)
    return Trace(tuple(raised[:_MOST_CAUSES]) or (Raised("", lines[0] if lines else "", ()),))


def _with_at(lines: Sequence[str], own: Sequence[str]) -> list[Raised]:
    """Read what Java, JavaScript and .NET write: a head, and frames that begin with ``at``."""
    found: list[tuple[str, str, list[CallFrame]]] = []
    pending: tuple[str, str] | None = None
    inner: list[tuple[str, str]] = []
    for line in lines:
        frame = _FRAME.match(line)
        if frame and (read := _frame(frame[1], own)):
            if pending is not None:
                found.append((*pending, []))
                # Of .NET all heads come first, and the frames of the innermost before those around it.
                found += [(*each, []) for each in inner]
                pending, inner = None, []
            if found and len(found[-1][2]) < _MOST_FRAMES:
                found[-1][2].append(read)
        elif match := _CAUSE.match(line.strip()):
            if pending is not None:
                found.append((*pending, []))
            pending = (match[1], match[2] or "")
        elif match := _INNER.match(line):
            inner.append((match[1], match[2] or ""))
        elif (
            (match := _HEAD.match(line)) and _is_type(match[1]) and (pending is None) and not found
        ):
            message, _, rest = (match[2] or "").partition(" ---> ")
            pending = (match[1], message)
            if rest and (more := _HEAD.match(rest)):
                inner.append((more[1], more[2] or ""))
    if pending is not None:
        found.append((*pending, []))
        found += [(*each, []) for each in inner]
    return [Raised(kind, message, tuple(frames)) for kind, message, frames in found]


def _is_type(name: str) -> bool:
    """Say whether a word that begins a line is likely an exception's name, not any word."""
    last = name.rsplit(".", 1)[-1]
    return "." in name or bool(
        re.search(r"(?:Exception|Error|Warning|Failure|Fault|Throwable|Interrupt|Exit)$", last)
    )


def _frame(text: str, own: Sequence[str]) -> CallFrame | None:
    if match := _NODE.match(text):
        file = _HASH_IN_NAME.sub("", match[2]).removeprefix("file://")
        return CallFrame(_stable(match[1] or "<anonymous>"), _tail(file), _is_own("", file, own))
    if match := _JAVA.match(text):
        function = _stable(
            match[1].rsplit("/", 1)[-1] if "@" in match[1] or "//" in match[1] else match[1]
        )
        file = match[2].split(":", 1)[0]
        return CallFrame(function, file, _is_own(function, "", own))
    if match := _NET.match(text):
        function = _stable(match[1])
        return CallFrame(function, _tail(match[3] or ""), _is_own(function, "", own))
    return None


def _python(lines: Sequence[str], own: Sequence[str]) -> list[Raised]:
    """Read tracebacks. The cause comes first in the text, and last in the chain."""
    found: list[Raised] = []
    frames: list[CallFrame] = []
    within = False
    for line in lines:
        if line.startswith("Traceback (most recent call last)"):
            within, frames = True, []
        elif within and (match := _PYTHON.match(line)):
            if len(frames) < _MOST_FRAMES:
                function = match[2] or "<module>"
                frames.append(CallFrame(function, _tail(match[1], 2), _is_own("", match[1], own)))
        elif within and line and not line[0].isspace():
            if match := _HEAD.match(line):
                found.append(Raised(match[1], match[2] or "", tuple(reversed(frames))))
            within = False
    return list(reversed(found))


def _go(lines: Sequence[str], own: Sequence[str]) -> list[Raised]:
    """Read a panic: the calls of the goroutine that it was in."""
    message = next(
        (line.removeprefix("panic: ") for line in lines if line.startswith("panic: ")), ""
    )
    frames: list[CallFrame] = []
    function = ""
    goroutines = 0
    for line in lines:
        goroutines += line.startswith("goroutine ")
        if goroutines > 1:
            break
        if match := _GO_CALL.match(line):
            function = match[1] or match[2]
        elif function and (match := _GO_FILE.match(line)) and len(frames) < _MOST_FRAMES:
            if not function.startswith(("panic", "runtime.gopanic", "runtime/debug.")):
                frames.append(
                    CallFrame(_stable(function), _tail(match[1]), _is_own(function, match[1], own))
                )
            function = ""
    kind = "runtime error" if message.startswith("runtime error") else "panic"
    return [Raised(kind, message, tuple(frames))]


def _stable(name: str) -> str:
    for pattern, replacement in _GENERATED:
        name = pattern.sub(replacement, name)
    return name


def _tail(path: str, parts: int = 1) -> str:
    return "/".join(path.replace("\\", "/").split("/")[-parts:])


def _is_own(function: str, file: str, own: Sequence[str]) -> bool:
    if any(function.startswith(start) or start in file for start in own):
        return True
    if function.startswith(_LIBRARIES):
        return False
    return not any(part in file for part in _LIBRARY_PATHS)


def fingerprint(trace: Trace) -> str:
    """Return what two traces share that are the same exception: 16 hexadecimal digits.

    Of the types of the chain, and of its frames of one's own (of all, if none is); without frames,
    of the message, masked.
    """
    frames = [frame for each in trace.raised for frame in each.frames]
    chosen = [frame for frame in frames if frame.own] or frames
    parts = [str(VERSION), *(each.type for each in trace.raised)]
    if chosen:
        parts += [f"{frame.function}\0{frame.file}" for frame in _without_recursion(chosen)]
    else:
        column = text_column(pl.Series([each.message for each in trace.raised], dtype=pl.String))
        parts += masked_texts(*column)
    return blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def _without_recursion(frames: Sequence[CallFrame]) -> list[CallFrame]:
    """Return the frames without those that repeat the one before: how deep it went says nothing."""
    return [frame for place, frame in enumerate(frames) if not place or frame != frames[place - 1]]
