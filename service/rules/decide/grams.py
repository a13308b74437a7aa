"""Exact amounts and the whole grams that they come to."""

from service.rules.decide.rulebook import GRAMS_MAX

GRAM_NG = 10**9
"""Exact amounts are counted in 10^-9 g: as far as the digits of a double reach."""

_HALF_UG = 500_000


def whole_grams(grams: float | None) -> int | None:
    """Round once, half to even; None for what failed, is below 0, no number or beyond reason."""
    exact = exact_ng(grams)
    return None if exact is None else rounded(exact)


def exact_ng(grams: float | None) -> int | None:
    """What a double means: it holds no more digits. None for what is no reasonable amount."""
    if grams is None or not 0 <= grams <= GRAMS_MAX:
        return None
    return round(grams * GRAM_NG)


def rounded(exact_ng: int) -> int:
    """Whole grams, half to even, by six digits of nine: three thirds make a whole."""
    grams, rest_ug = divmod((exact_ng + 500) // 1_000, 1_000_000)
    return grams + (rest_ug > _HALF_UG or (rest_ug == _HALF_UG and grams % 2))


def grown(awarded_g: int, rest_ng: int, more_ng: int, *, least_g: int = 0) -> tuple[int, int]:
    """What a sum that grows by so much is to be awarded, and by how much that moves its rest.

    What was awarded can be more than the sum after a reversal: then nothing is awarded until the
    sum has come to it again.
    """
    total_ng = awarded_g * GRAM_NG + rest_ng + more_ng
    grams = max(rounded(total_ng) - awarded_g, least_g)
    return grams, more_ng - grams * GRAM_NG
