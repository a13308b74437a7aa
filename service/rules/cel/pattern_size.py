r"""How large a regular expression is. RE2 takes a time linear in the text, but is built for each.

Repetitions multiply: `(a{1,1000})` forty times over took 200 ms a text, `\pL` a millisecond. So
the parts of a pattern are counted, each as often as it may be repeated.
"""

import re

PARTS_MAX = 1_000

# A class of the letters of all scripts is hundreds of ranges of bytes.
_SCRIPT_PARTS = 250
_PIECE = re.compile(
    r"""(?P<open>\((?:\?(?:P?<\w*>|[a-zA-Z-]*:?))?)
      | (?P<close>\))
      | (?P<times>[*+?]\??|\{(?P<low>\d{1,9})(?P<more>,(?P<high>\d{0,9}))?\}\??)
      | (?P<part>\\[pPx]\{[^}]*\} | \\[pP]\w | \\.
          | \[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\] | .)""",
    re.VERBOSE | re.DOTALL,
)
_SCRIPT = re.compile(r"\\[pP]")


def parts_of(pattern: str) -> int:
    """Count the parts of a pattern; of one that is no pattern, whatever comes out."""
    sums, last = [0], [0]
    for piece in _PIECE.finditer(pattern):
        if piece.group("open"):
            sums.append(0)
            last.append(0)
        elif piece.group("times"):
            more = last[-1] * (_times(piece) - 1)
            last[-1] += more
            sums[-1] += more
        else:
            if piece.group("close") and len(sums) > 1:
                last.pop()
                last[-1] = max(sums.pop(), 1)
            else:
                last[-1] = max(_SCRIPT_PARTS * len(_SCRIPT.findall(piece.group())), 1)
            sums[-1] += last[-1]
    return sum(sums)


def _times(piece: re.Match[str]) -> int:
    low, high = piece.group("low"), piece.group("high")
    return max(int(high or low), 1) if low else 1
