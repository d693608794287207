"""Check digits of numbers that belong to people: which digits are such a number, and which are not.

Sources: ISO/IEC 7812 (cards), ISO 13616 (IBAN) and the national rules named at each function.
"""

from __future__ import annotations

from typing import Final

__all__ = ["NATIONAL_IDS", "is_card", "is_iban"]

_IBAN_LENGTHS: Final = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29,
    "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28,
    "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit())


def _luhn(digits: str) -> bool:
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_card(text: str) -> bool:
    """Return whether the digits are the number of a payment card: issuer, length and check digit.

    >>> is_card("4111 1111 1111 1111"), is_card("1700000000000")
    (True, False)
    """
    digits = _digits(text)
    return len(digits) in _card_lengths(digits) and _luhn(digits) and len(set(digits)) > 1


def _card_lengths(digits: str) -> tuple[int, ...]:  # noqa: PLR0911 - one for each issuer
    """Return how many digits the cards of the issuer have that the first digits tell of."""
    two, four, six = (int(digits[:size] or 0) for size in (2, 4, 6))
    if digits[:1] == "4":  # Visa
        return (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:  # Mastercard
        return (16,)
    if two in (34, 37):  # American Express
        return (15,)
    if two == 65 or four == 6011 or 644 <= four // 10 <= 649 or 622126 <= six <= 622925:  # Discover
        return (16, 19)
    if two == 62:  # UnionPay
        return (16, 17, 18, 19)
    if 300 <= four // 10 <= 305 or two in (36, 38, 39):  # Diners Club
        return (14,) if two == 36 else (14, 16)
    if 3528 <= four <= 3589:  # JCB
        return (16,)
    if two in (50, 56, 57, 58) or four in (6304, 6759, 6761, 6762, 6763):  # Maestro
        return (16,)
    return ()


def is_iban(text: str) -> bool:
    """Return whether a text is an IBAN: its country's length, and the remainder 1 modulo 97.

    >>> is_iban("GB82 WEST 1234 5698 7654 32"), is_iban("GB82 WEST 1234 5698 7654 33")
    (True, False)
    """
    plain = text.replace(" ", "").upper()
    if len(plain) != _IBAN_LENGTHS.get(plain[:2]):
        return False
    turned = plain[4:] + plain[:4]
    return int("".join(str(int(char, 36)) for char in turned)) % 97 == 1


def _is_ssn(text: str) -> bool:
    """Social Security numbers of the United States: no check digit, but ranges never given out."""
    area, group, serial = text.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _is_nino(text: str) -> bool:
    """National Insurance numbers of the United Kingdom: prefixes never given out."""
    return text.replace(" ", "")[:2].upper() not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ")


def _is_dni(text: str) -> bool:
    """DNI and NIE of Spain: the letter is the number modulo 23."""
    plain = text.upper().replace("-", "")
    number = plain[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == plain[-1]


def _is_cpf(text: str) -> bool:
    """CPF of Brazil: two check digits modulo 11."""
    digits = [int(char) for char in _digits(text)]
    if len(set(digits)) == 1:
        return False
    for size in (9, 10):
        weighted = sum(d * (size + 1 - place) for place, d in enumerate(digits[:size]))
        if weighted * 10 % 11 % 10 != digits[size]:
            return False
    return True


def _is_nir(text: str) -> bool:
    """NIR of France: the key is 97 minus the number modulo 97; 2A and 2B are Corsica."""
    plain = text.replace(" ", "").upper().replace("2A", "19").replace("2B", "18")
    return plain.isdigit() and 97 - int(plain[:13]) % 97 == int(plain[13:])


_ODD_LETTERS: Final = (
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23,
)  # fmt: skip
_ODD: Final = dict(zip("0123456789", _ODD_LETTERS, strict=False)) | dict(
    zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", _ODD_LETTERS, strict=True)
)


def _is_codice_fiscale(text: str) -> bool:
    """Codice fiscale of Italy: the last letter is a weighted sum modulo 26."""
    plain = text.upper()
    total = 0
    for place, char in enumerate(plain[:15]):
        even = int(char) if char.isdigit() else ord(char) - ord("A")
        total += even if place % 2 else _ODD[char]
    return chr(ord("A") + total % 26) == plain[15]


NATIONAL_IDS: Final = {
    "us": (r"[0-9]{3}-[0-9]{2}-[0-9]{4}", _is_ssn),
    "gb": (r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]", _is_nino),
    "es": (r"[0-9XYZ][0-9]{7}-?[A-HJ-NP-TV-Z]", _is_dni),
    "br": (r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", _is_cpf),
    "fr": (
        r"[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]) ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        _is_nir,
    ),
    "it": (r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]", _is_codice_fiscale),
}
"""What the numbers of a country look like, as a regular expression, and whether a text is one."""
