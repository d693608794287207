"""A compiled look at every text: which kinds of sensitive data may be in it.

It errs on one side only: what a pattern of ``sensitive.KINDS`` finds is suspected here, and few
texts are suspected in vain. So the patterns, which cost a hundred times as much, are applied to
those alone.
"""

# ruff: noqa: PLR0912, PLR0915, PLR1714, SIM102, SIM110 -- a scanner is a list of cases

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import Word, compiled, signed, uncounted, word_at
from operators.logs.scrubbing.addresses import public_address_end
from operators.logs.scrubbing.sensitive import KINDS

__all__ = ["suspected"]

_BITS: Final = {name: 1 << bit for bit, name in enumerate(KINDS)}
_PRIVATE_KEY: Final = _BITS["private_key"]
_JWT: Final = _BITS["jwt"]
_URL_PASSWORD: Final = _BITS["url_password"]
_BEARER: Final = _BITS["bearer"]
_AUTHORIZED: Final = _BITS["authorization"]
_KEY_VALUE: Final = _BITS["key_value"]
_CLOUD_KEY: Final = _BITS["cloud_key"]
_EMAIL: Final = _BITS["email"]
_IBAN: Final = _BITS["iban"]
_CARD: Final = _BITS["card"]
_PHONE: Final = _BITS["phone"]
_US: Final = _BITS["national_id_us"]
_GB: Final = _BITS["national_id_gb"]
_ES: Final = _BITS["national_id_es"]
_BR: Final = _BITS["national_id_br"]
_FR: Final = _BITS["national_id_fr"]
_IT: Final = _BITS["national_id_it"]
_IP: Final = _BITS["ip"]
_IPV6: Final = _BITS["ipv6"]

_DIGIT: Final = 1
_UPPER: Final = 2
_LOWER: Final = 4
_LOOK: Final = 8  # something may be found that ends or begins at such a byte
_OF_DOMAIN: Final = 16  # letters, digits and hyphens
_OF_NAME: Final = 32  # what the name in an address of mail may end with
_ALNUM: Final = _DIGIT | _UPPER | _LOWER


def _classes() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[ord("0") : ord("9") + 1] = _DIGIT | _LOOK
    table[ord("A") : ord("Z") + 1] = _UPPER
    table[ord("a") : ord("z") + 1] = _LOWER
    for char in " +@=:-_.ABJz":
        table[ord(char)] |= _LOOK
    table[(table & _ALNUM) != 0] |= _OF_DOMAIN | _OF_NAME
    table[ord("-")] |= _OF_DOMAIN
    for char in "._%+-":
        table[ord(char)] |= _OF_NAME
    return table


_CLASS: Final = _classes()

_LOWERED: Final = np.uint64(0x2020202020202020)
"""Makes small letters of capitals; of other characters it makes others, in endings alike."""

_ENDINGS: Final = (
    "ssword", "passwd", "phrase", "pwd", "secret", "key", "keyid", "key_id", "key-id", "key.id",
    "token", "ential", "ntials", "sionid", "ion_id", "ion-id", "ion.id", "cookie",
)  # fmt: skip
"""Of keys of secrets, their last letters, six at most."""


def _ending(text: str) -> tuple[int, int]:
    """Return a text as the highest bytes of a word, and the mask of those bytes."""
    size = len(text)
    shift = 8 * (8 - size)
    mask = ((1 << (8 * size)) - 1) << shift
    lowered = int.from_bytes(text.encode(), "little") << shift | int(_LOWERED)
    return lowered & mask, mask


_SECRET_ENDINGS: Final = np.array([_ending(text) for text in _ENDINGS], np.uint64)
_BEARERS: Final = np.array(
    [_ending(text) for text in ("bearer", "basic", "digest", "tiate", "apikey")], np.uint64
)
_AUTHORIZATION: Final = np.array([_ending("zation")], np.uint64)
_DASHES: Final = np.array([_ending(text) for text in ("glpat-", "sk-")], np.uint64)
_UNDERSCORES: Final = np.array(
    [_ending(text) for text in ("_live_", "_test_", "npm_", "p_v1_", "b_pat_")], np.uint64
)
_DOTS: Final = np.array([_ending(text) for text in ("sg.", "hvs.", "hvb.", "ya29.")], np.uint64)


_OF_SECRET: Final = np.uint8(1)
_OF_BEARER: Final = np.uint8(2)
_OF_AUTHORIZATION: Final = np.uint8(4)
_OF_UNDERSCORE: Final = np.uint8(8)
_OF_DOT: Final = np.uint8(16)


def _pairs() -> NDArray[np.uint8]:
    """Return which endings may come of two letters at their end: what has none of them is passed over.

    Of those that end with a sign, it is the two before that sign. A letter is told by its five lowest
    bits, so its case does not matter, and a few other characters are taken for letters.
    """
    table = np.zeros(1024, np.uint8)
    for flag, endings, sign in (
        (_OF_SECRET, _SECRET_ENDINGS, 0), (_OF_BEARER, _BEARERS, 0), (_OF_AUTHORIZATION, _AUTHORIZATION, 0),
        (_OF_UNDERSCORE, _UNDERSCORES, 1), (_OF_DOT, _DOTS, 1),
    ):  # fmt: skip
        for word in endings[:, 0].tolist():
            first, second = word.to_bytes(8, "little")[6 - sign : 8 - sign]
            table[32 * (first & 31) + (second & 31)] |= flag
    return table


_PAIRS: Final = _pairs()


@uncounted
def _pair(buffer: NDArray[np.uint8], start: int, at: int) -> int:
    """Return which endings the two bytes before ``at`` may be of."""
    if at - 2 < start:
        return 255 if at > start else 0
    return _PAIRS[32 * (np.int64(buffer[at - 2]) & 31) + (np.int64(buffer[at - 1]) & 31)]  # type: ignore[no-any-return]


@uncounted
def _before(buffer: NDArray[np.uint8], start: int, at: int) -> Word:
    """Return up to eight bytes before ``at``, in small letters, the last one the highest."""
    if at - 8 >= start:
        word: Word = word_at(buffer, at - 8)
    else:
        size = at - start
        word = np.uint64(0)
        if size > 0:
            word = word_at(buffer, start) << np.uint64(8 * (8 - size))
    return word | _LOWERED


@uncounted
def _ends_with(word: Word, endings: NDArray[np.uint64]) -> bool:
    for row in range(len(endings)):
        if word & endings[row, 1] == endings[row, 0]:
            return True
    return False


@uncounted
def _digits(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return the number of digits from ``at`` on."""
    first = at
    while at < end and _CLASS[buffer[at]] & _DIGIT:
        at += 1
    return at - first


@uncounted
def _luhn(buffer: NDArray[np.uint8], start: int, end: int) -> bool:
    total = 0
    double = False
    for place in range(end - 1, start - 1, -1):
        digit = signed(buffer[place]) - 48
        if double:
            digit *= 2
            if digit > 9:
                digit -= 9
        total += digit
        double = not double
    return bool(total % 10 == 0)


@uncounted
def _spaced(buffer: NDArray[np.uint8], at: int, end: int, count: int, letters: bool) -> int:
    """Return where ``count`` digits end, between which single blanks may be, -1 if there are fewer.

    With ``letters``, ``A`` and ``B`` count too.
    """
    seen = 0
    while at < end:
        byte = buffer[at]
        if _CLASS[byte] & _DIGIT or (letters and (byte == 65 or byte == 66)):
            seen += 1
            if seen == count:
                return at + 1
        elif byte != 32 or buffer[at - 1] == 32:
            break
        at += 1
    return -1


@uncounted
def _of_number(buffer: NDArray[np.uint8], start: int, at: int, size: int, end: int) -> int:
    """Return the bits of kinds that a number of ``size`` digits at ``at`` may be, or begin."""
    found = 0
    after = at + size
    byte = buffer[after] if after < end else np.uint8(0)
    before = buffer[at - 1] if at > start else np.uint8(0)
    if size <= 3 and byte == 46:
        if public_address_end(buffer, start, at, end)[1] > 0:
            found |= _IP
        if size == 3 and _digits(buffer, after + 1, end) == 3 and after + 8 < end:
            if buffer[after + 4] == 46 and buffer[after + 8] == 45:
                if _digits(buffer, after + 5, end) == 3:
                    found |= _BR
    elif size == 3 and byte == 45:
        further = _digits(buffer, after + 1, end)
        apart = after + 1 + further
        if apart < end and buffer[apart] == 45:
            if further == 2:
                found |= _US
            elif further == 3:
                found |= _PHONE
    elif size == 3 and before == 40 and byte == 41:
        found |= _PHONE
    elif size >= 13 and size <= 19:
        if _luhn(buffer, at, after):
            found |= _CARD
    elif size == 4 and (byte == 32 or byte == 45):
        further = _digits(buffer, after + 1, end)
        if (further == 4 or further == 6) and after + 1 + further < end:
            if buffer[after + 1 + further] == 32 or buffer[after + 1 + further] == 45:
                found |= _CARD
    if size == 7 or size == 8:
        letter = buffer[after + 1] if byte == 45 and after + 1 < end else byte
        if _CLASS[letter] & _UPPER:
            found |= _ES
    if buffer[at] == 49 or buffer[at] == 50:
        # What ends sooner goes on with a blank, or a letter of Corsica.
        if size >= 15 or byte == 32 or byte == 65 or byte == 66:
            if _spaced(buffer, at, end, 15, True) >= 0:
                found |= _FR
    if at - 2 >= start and size >= 2:
        second = at - 1 - (before == 32 and at - 3 >= start)
        if _CLASS[buffer[second]] & _UPPER and _CLASS[buffer[second - 1]] & _UPPER:
            place = _spaced(buffer, at, end, 6, False)
            if place >= 0 and place < end:
                place += buffer[place] == 32 and place + 1 < end
                if 65 <= buffer[place] <= 68:
                    found |= _GB
            if size == 2 and at - 6 >= start and _CLASS[buffer[at - 6]] & _UPPER:
                found |= _IT
            seen = 0
            place = at + 2
            while place < end and seen < 11:
                kind = _CLASS[buffer[place]]
                if kind & (_DIGIT | _UPPER):
                    seen += 1
                elif buffer[place] != 32:
                    break
                place += 1
            if seen == 11:
                found |= _IBAN
    return found


@uncounted
def _is_of_email(buffer: NDArray[np.uint8], start: int, at: int, end: int) -> bool:
    """Say whether the ``@`` at ``at`` may be that of an address: a name before it, and a domain with a dot."""
    if at == start or not _CLASS[buffer[at - 1]] & _OF_NAME:
        return False
    place = at + 1
    while place < end and _CLASS[buffer[place]] & _OF_DOMAIN:
        place += 1
    return bool(place > at + 1 and place < end and buffer[place] == 46)


@uncounted
def _look(buffer: NDArray[np.uint8], start: int, end: int) -> int:
    """Return the bits of the kinds that may be in ``buffer[start:end]``."""
    found = 0
    colons = 0  # with at most four bytes between them
    colon = start - 9
    scheme = False
    at = start
    while at < end:
        byte = buffer[at]
        kind = _CLASS[byte]
        if not kind & _LOOK:
            at += 1
            continue
        if kind & _DIGIT:
            size = _digits(buffer, at, end)
            found |= _of_number(buffer, start, at, size, end)
            at += size
            continue
        if byte == 32:
            if at - start >= 5 and _CLASS[buffer[at - 1]] & (_LOWER | _UPPER):
                if _pair(buffer, start, at) & _OF_BEARER:
                    if _ends_with(_before(buffer, start, at), _BEARERS):
                        found |= _BEARER
        elif byte == 58 or byte == 61:
            place = at
            while place > start and (
                buffer[place - 1] == 32
                or buffer[place - 1] == 34
                or buffer[place - 1] == 39
                or buffer[place - 1] == 92
            ):
                place -= 1
            if _pair(buffer, start, place) & (_OF_SECRET | _OF_AUTHORIZATION):
                word = _before(buffer, start, place)
                if _ends_with(word, _SECRET_ENDINGS):
                    found |= _KEY_VALUE
                elif _ends_with(word, _AUTHORIZATION):
                    found |= _AUTHORIZED
            if byte == 58:
                colons = colons + 1 if at - colon <= 5 else 1
                # Seven colons, or two beside each other with a digit nearby.
                if colons >= 7 or (colons > 1 and at - colon == 1):
                    found |= _IPV6
                colon = at
                if at + 2 < end and buffer[at + 1] == 47 and buffer[at + 2] == 47:
                    scheme = True
        elif byte == 64:
            if _is_of_email(buffer, start, at, end):
                found |= _EMAIL
            if scheme:
                found |= _URL_PASSWORD
        elif byte == 43:
            if at + 1 < end and 49 <= buffer[at + 1] <= 57:
                found |= _PHONE
            if at - start >= 5 and _pair(buffer, start, at) & _OF_BEARER:
                if _ends_with(_before(buffer, start, at), _BEARERS):
                    found |= _BEARER
        elif byte == 45:
            if at + 1 < end and at - start >= 2:
                if buffer[at - 1] == 107 or buffer[at - 1] == 116:
                    if _ends_with(_before(buffer, start, at + 1), _DASHES):
                        found |= _CLOUD_KEY
                elif at - 4 >= start and buffer[at - 4] == 120 and buffer[at - 3] == 111:
                    found |= _CLOUD_KEY
        elif byte == 95:
            if at - start >= 3:
                if buffer[at - 3] == 103 and buffer[at - 2] == 104:
                    found |= _CLOUD_KEY
                elif _pair(buffer, start, at) & _OF_UNDERSCORE:
                    if _ends_with(_before(buffer, start, at + 1), _UNDERSCORES):
                        found |= _CLOUD_KEY
        elif byte == 46:
            if at - start >= 2 and _pair(buffer, start, at) & _OF_DOT:
                if _ends_with(_before(buffer, start, at + 1), _DOTS):
                    found |= _CLOUD_KEY
        elif byte == 65:
            if at - 3 >= start and buffer[at - 1] == 73:
                if buffer[at - 3] == 65:
                    found |= _CLOUD_KEY
            elif at - 3 >= start and buffer[at - 3] == 65 and buffer[at - 2] == 67:
                found |= _CLOUD_KEY
        elif byte == 66:
            if at - 5 >= start and buffer[at - 1] == 45 and buffer[at - 5] == 45:
                found |= _PRIVATE_KEY
        elif byte == 74:
            if at - 2 >= start and buffer[at - 1] == 121 and buffer[at - 2] == 101:
                found |= _JWT
        elif at - 2 >= start and buffer[at - 1] == 73 and buffer[at - 2] == 65:  # AIz
            found |= _CLOUD_KEY
        at += 1
    return found


@compiled
def suspected(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """Return for each text the kinds that may be in it: bit ``n`` is the ``n``-th of ``KINDS``.

    Args:
        buffer: the texts' bytes, and ``PADDING``.
        starts: where each text begins in it.
        ends: where each ends.
    """
    found = np.empty(len(starts), np.uint32)
    for row in range(len(starts)):
        found[row] = _look(buffer, starts[row], ends[row])
    return found
