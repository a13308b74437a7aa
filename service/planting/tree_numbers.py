"""Tree numbers: public, not to be guessed, and safe to read out over a telephone.

`SX-7K3M-9QWD-1TFA` is eleven random symbols and a check symbol. 55 bits: with a hundred million
trees, one guess in 360 million names one. No sequence and no secret are needed; the key of the
lookup table refuses the twin that will not come.
"""

import secrets

PREFIX = "SX"
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
_VALUES = {symbol: value for value, symbol in enumerate(_ALPHABET)} | {"I": 1, "L": 1, "O": 0}
_RANDOM_SYMBOLS = 11
_SYMBOLS = _RANDOM_SYMBOLS + 1
_TEXT_MAX = 40


def draw_number() -> str:
    """A new number, in the form in which it is stored and shown."""
    bits = secrets.randbits(5 * _RANDOM_SYMBOLS)
    values = [bits >> 5 * place & 31 for place in range(_RANDOM_SYMBOLS)]
    return _written([*values, _check_value(values)])


def parse_number(text: str) -> str | None:
    """The stored form of a number as people type it; None when it cannot be one.

    Small letters, missing hyphens and I, L, O for 1, 1, 0 are understood; the check symbol finds
    every single wrong symbol and every two that changed places.
    """
    plain = text[:_TEXT_MAX].upper().replace("-", "").replace(" ", "")
    symbols = plain.removeprefix(PREFIX)
    if len(symbols) != _SYMBOLS or len(plain) == len(symbols):
        return None
    values = [_VALUES.get(symbol, -1) for symbol in symbols]
    if -1 in values or _check_value(values[:-1]) != values[-1]:
        return None
    return _written(values)


def _check_value(values: list[int]) -> int:
    """Horner's scheme at the generator of GF(32), modulus x^5 + x^2 + 1.

    No two of 31 places have the same weight there, which is what finds the swapped symbols.
    """
    check = 0
    for value in values:
        check ^= value
        check = check << 1 ^ (0b100101 if check & 16 else 0)
    return check


def _written(values: list[int]) -> str:
    symbols = "".join(_ALPHABET[value] for value in values)
    return "-".join((PREFIX, symbols[:4], symbols[4:8], symbols[8:]))
