"""Go's ``fmt``: what ``printf`` makes of a format and its arguments, and how a value is printed."""

# ruff: noqa: PLR0911, PLR0912 -- one case a verb and kind of value

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from operators.templating.values import ABSENT, Object, kind

__all__ = ["quote", "sprint", "sprintf", "text_of"]

_DIRECTIVE: Final = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<width>\d+|(?:\[\d+\])?\*)?"
    r"(?:(?P<dot>\.)(?P<precision>\d+|(?:\[\d+\])?\*)?)?(?P<index>\[\d+\])?(?P<verb>.)?",
    re.DOTALL,
)
_INTEGERS: Final = {"d": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X", "U": "X"}
_WIDEST: Final = 1_000_000


class _Directive(NamedTuple):
    flags: str
    width: int | None
    precision: int | None
    verb: str

    def pad(self, text: str, zeros: bool = False) -> str:
        """Fill up to the width: on the right, or on the left, with zeros after the sign."""
        if self.width is None or len(text) >= self.width:
            return text
        if "-" in self.flags:
            return text.ljust(self.width)
        if zeros and "0" in self.flags:
            sign = text[:1] if text[:1] in ("+", "-", " ") else ""
            return sign + text[len(sign) :].rjust(self.width - len(sign), "0")
        return text.rjust(self.width)


def sprintf(format_: str, arguments: Sequence[Any]) -> str:
    """Return what Go's ``Sprintf`` returns, its complaints about wrong arguments included.

    >>> sprintf("%5.2f|%-4d|%q|%d", [3.14159, 7, "a", "b"])
    ' 3.14|7   |"a"|%!d(string=b)'
    """
    made: list[str] = []
    at = used = 0
    reordered = False

    def star(text: str) -> int | None:
        nonlocal used, reordered
        if text.startswith("["):
            used, reordered = int(text[1 : text.index("]")]) - 1, True
        if not 0 <= used < len(arguments) or not isinstance(arguments[used], int):
            used += 1
            return None
        used += 1
        return int(arguments[used - 1])

    for match in _DIRECTIVE.finditer(format_):
        made.append(format_[at : match.start()])
        at = match.end()
        flags, verb = match["flags"], match["verb"]
        if verb is None:
            made.append("%!(NOVERB)")
            continue
        width = precision = None
        if (text := match["width"]) is not None:
            width = star(text) if text.endswith("*") else int(text)
            if width is None or abs(width) > _WIDEST:
                made.append("%!(BADWIDTH)")
                width = None
            elif width < 0:
                flags, width = flags + "-", -width
        if match["dot"]:
            text = match["precision"] or "0"
            precision = star(text) if text.endswith("*") else int(text)
            if precision is None or not 0 <= precision <= _WIDEST:
                made.append("%!(BADPREC)")
                precision = None
        if match["index"]:
            used, reordered = int(match["index"][1:-1]) - 1, True
        if verb == "%":
            made.append("%")
        elif match["index"] and not 0 <= used < len(arguments):
            made.append(f"%!{verb}(BADINDEX)")
        elif used >= len(arguments):
            made.append(f"%!{verb}(MISSING)")
        else:
            made.append(_one(_Directive(flags, width, precision, verb), arguments[used]))
            used += 1
    made.append(format_[at:])
    if not reordered and used < len(arguments):
        extra = ", ".join(
            f"{kind(value)}={text_of(value)}" if value is not None else "<nil>"
            for value in arguments[used:]
        )
        made.append(f"%!(EXTRA {extra})")
    return "".join(made)


def sprint(arguments: Sequence[Any]) -> str:
    """Return what Go's ``Sprint`` returns: a space between two values, neither of which is text."""
    made = []
    for i, value in enumerate(arguments):
        if i and not isinstance(value, str) and not isinstance(arguments[i - 1], str):
            made.append(" ")
        made.append(text_of(value))
    return "".join(made)


def text_of(value: Any) -> str:
    """Return a value as Go's ``%v`` prints it."""
    if value is ABSENT:
        return "<no value>"
    return _plain(_Directive("", None, None, "v"), value)


def _one(directive: _Directive, value: Any) -> str:
    """Return one value by its directive."""
    flags, verb = directive.flags, directive.verb
    if verb == "T":
        return _string(directive._replace(verb="s"), kind(value) if value is not None else "<nil>")
    if value is None or value is ABSENT:
        return (
            directive.pad("<nil>" if value is None else "<no value>")
            if verb == "v"
            else f"%!{verb}(<nil>)"
        )
    if isinstance(value, (list, tuple)) and verb not in "vT":
        if verb in "sqdxXfeEgGt":
            return "[" + " ".join(_one(directive, item) for item in value) + "]"
    elif isinstance(value, Mapping) and verb in "sqd":
        inner = (f"{_one(directive, key)}:{_one(directive, item)}" for key, item in _ordered(value))
        return f"map[{' '.join(inner)}]"
    if verb == "v":
        if not isinstance(value, Object):
            # Of a value, a plus asks for the names of fields, not for signs.
            directive = directive._replace(flags=flags.replace("+", ""))
        return _plain(directive, value)
    if isinstance(value, bool):
        if verb == "t":
            return directive.pad("true" if value else "false", zeros=True)
    elif isinstance(value, int):
        if verb in _INTEGERS or verb in "cq":
            return _integer(directive, value)
    elif isinstance(value, float):
        if verb in "eEfFgGbxX":
            return _float(directive, value)
    elif isinstance(value, str):
        if verb in "sqxX":
            return _string(directive, value)
    elif isinstance(value, Object) and verb == "s":
        return directive.pad(text_of(value))
    return f"%!{verb}({kind(value)}={_plain(directive, value)})"


def _plain(directive: _Directive, value: Any) -> str:
    """Return a value by ``%v``: numbers by their own verbs, the rest by what is in it."""
    if value is None or value is ABSENT:
        return "<nil>"
    if isinstance(value, bool):
        return directive.pad("true" if value else "false", zeros=True)
    if isinstance(value, int):
        return _integer(directive._replace(verb="d"), value)
    if isinstance(value, float):
        return _float(directive, value)
    if isinstance(value, str):
        return _string(directive._replace(verb="q" if "#" in directive.flags else "s"), value)
    inner = directive._replace(width=None)
    if isinstance(value, Mapping):
        entries = (f"{_plain(inner, key)}:{_plain(inner, item)}" for key, item in _ordered(value))
        return f"map[{' '.join(entries)}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(_plain(inner, item) for item in value)}]"
    if isinstance(value, Object):
        if value.text is not None:
            return directive.pad(value.text)
        if "+" in directive.flags:
            parts = (f"{name}:{_plain(inner, item)}" for name, item in value.fields.items())
        else:
            parts = (_plain(inner, item) for item in value.fields.values())
        return f"{{{' '.join(parts)}}}"
    return directive.pad(str(value))


def _ordered(value: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    try:
        return sorted(value.items(), key=lambda entry: entry[0])
    except TypeError:
        return list(value.items())


def _integer(directive: _Directive, value: int) -> str:
    flags, verb = directive.flags, directive.verb
    if verb == "c":
        return directive.pad(chr(value) if 0 <= value <= 0x10FFFF else "�", zeros=True)
    if verb == "q":
        character = chr(value) if 0 <= value <= 0x10FFFF else "�"
        escaped = quote(character, ascii_only="+" in flags)[1:-1].replace('\\"', '"')
        text = "\\'" if character == "'" else escaped
        return directive.pad(f"'{text}'", zeros=True)
    digits = format(abs(value), _INTEGERS[verb])
    if verb == "U":
        digits = format(value % (1 << 64), "X")
        return directive._replace(flags=flags.replace("0", "")).pad(f"U+{digits:0>4}")
    if directive.precision is not None:
        if directive.precision == value == 0:
            return " " * (directive.width or 0)
        digits = digits.rjust(directive.precision, "0")
    prefix = {"x": "0x", "X": "0X", "b": "0b", "o": "0"}.get(verb, "") if "#" in flags else ""
    prefix = "0o" if verb == "O" else prefix
    sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
    # A precision says how many digits there are, so zeros don't fill up the width as well.
    return directive.pad(sign + prefix + digits, zeros=directive.precision is None)


def _float(directive: _Directive, value: float) -> str:
    flags = directive.flags
    if not math.isfinite(value):
        return directive.pad(_signed_special(value, flags))
    text = _digits(
        directive.verb if directive.verb in "eEfFGbxX" else "g", abs(value), directive.precision
    )
    negative = math.copysign(1, value) < 0
    sign = "-" if negative else "+" if "+" in flags else " " if " " in flags else ""
    return directive.pad(sign + text, zeros=True)


def _signed_special(value: float, flags: str) -> str:
    if math.isnan(value):
        return "+NaN" if "+" in flags else " NaN" if " " in flags else "NaN"
    if value < 0:
        return "-Inf"
    return " Inf" if " " in flags and "+" not in flags else "+Inf"


def _digits(verb: str, value: float, precision: int | None) -> str:
    """Return the digits of a number that is finite and not negative."""
    if verb in "fF":
        return f"{value:.{6 if precision is None else precision}f}"
    if verb in "eE":
        return f"{value:.{6 if precision is None else precision}{verb}}"
    if verb in "xX":
        mantissa_text, exponent_text = value.hex().split("p")
        mantissa_text = (
            mantissa_text.rstrip("0").rstrip(".") if "." in mantissa_text else mantissa_text
        )
        text = f"{mantissa_text}p{int(exponent_text):+03d}"
        return text.upper() if verb == "X" else text
    if verb == "b":
        mantissa, exponent = math.frexp(value)
        return f"{int(mantissa * (1 << 53))}p{exponent - 53:+d}"
    if precision is not None:
        precision = max(precision, 1)
        scientific = f"{value:.{precision - 1}e}"
        mantissa_text, exponent_text = scientific.split("e")
        exponent = int(exponent_text)
        if exponent < -4 or exponent >= precision:
            if "." in mantissa_text:
                mantissa_text = mantissa_text.rstrip("0").rstrip(".")
            return f"{mantissa_text}{verb.replace('g', 'e').replace('G', 'E')}{exponent:+03d}"
        text = f"{value:.{precision - 1 - exponent}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    # The shortest digits that say which number it is, as repr gives them.
    digits, exponent = _shortest(value)
    if exponent < -4 or exponent >= 6:
        mantissa_text = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
        return f"{mantissa_text}{'E' if verb == 'G' else 'e'}{exponent:+03d}"
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return whole + (f".{digits[exponent + 1 :]}" if len(digits) > exponent + 1 else "")


def _shortest(value: float) -> tuple[str, int]:
    """Return the shortest digits of a number, and the power of ten of the first of them."""
    if value == 0:
        return "0", 0
    mantissa, _, exponent = f"{value!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    power = len(whole) - 1 + int(exponent or 0)
    stripped = digits.lstrip("0")
    power -= len(digits) - len(stripped)
    return stripped.rstrip("0"), power


def _string(directive: _Directive, value: str) -> str:
    flags, verb = directive.flags, directive.verb
    if verb in "xX":
        spaced = " " if " " in flags else ""
        data = value.encode()
        if directive.precision is not None:
            data = data[: directive.precision]
        text = spaced.join(format(byte, f"02{verb}") for byte in data)
        return directive.pad(f"0{verb}{text}" if "#" in flags and text else text, zeros=True)
    if directive.precision is not None:
        value = value[: directive.precision]
    if verb == "q":
        if "#" in flags and "`" not in value and (value.isprintable() or "\t" in value):
            return directive.pad(f"`{value}`")
        value = quote(value, ascii_only="+" in flags)
    return directive.pad(value, zeros=True)


_QUOTED: Final = {
    "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v",
    "\\": r"\\", '"': r"\"",
}  # fmt: skip


def quote(text: str, ascii_only: bool = False) -> str:
    r"""Return a text as a constant of Go's.

    >>> quote('say "é"\x00')
    '"say \\"é\\"\\x00"'
    """
    made = []
    for character in text:
        code = ord(character)
        if character in _QUOTED:
            made.append(_QUOTED[character])
        elif character.isprintable() and not (ascii_only and code > 127):
            made.append(character)
        elif code < 0x80:
            made.append(f"\\x{code:02x}")
        else:
            made.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return f'"{"".join(made)}"'
