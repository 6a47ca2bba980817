"""Whether an answer ends with the right mathematical expression, by math-verify and SymPy.

Runs in the worker of a `VerifierReward`. The library's own time limits are signals, which threads
do not get and C code does not see: they are off, since the worker is killed when its time is up.
"""

from __future__ import annotations

import re

try:
    from math_verify import parse, verify
except ImportError as error:
    raise ImportError(f'{error}: pip install "eva-align[verify]"') from error

_MARKED = re.compile(r"\$|\\boxed|\\\(|\\\[")
_FINAL = re.compile(r"####\s*(.+)")


def agrees(response: str, reference: object) -> float:
    """Return 1 where the response's final expression equals the reference, else 0.

    The final expression is the one in a box, else one announced as the answer, else the last one.
    A response without any is wrong.

    Raises:
        ValueError: the reference is no expression.
    """
    wanted = _read(marked(str(reference)))
    if not wanted:
        raise ValueError(f"the reference {reference!r} cannot be read as mathematics")
    found = _read(response)
    return float(bool(found) and bool(verify(wanted, found, timeout_seconds=None)))


def marked(reference: str) -> str:
    r"""Return a reference as a formula, in dollars where nothing marks it as one.

    What stands after `####` is GSM8K's answer to the solution before it.

    >>> marked(r"\frac{1}{2}"), marked("So 5 + 3 = 8.\n#### 1,008")
    ('$\\frac{1}{2}$', '$1,008$')
    """
    final = _FINAL.findall(reference)
    text = (final[-1] if final else reference).strip()
    return text if _MARKED.search(text) else f"${text}$"


def _read(text: str) -> list[object]:
    # without fallback: two texts that are no mathematics are never equal by their spelling
    found: list[object] = parse(text, fallback_mode="no_fallback", parsing_timeout=None)
    return found
