"""The one error that a user's mistake raises: what is wrong, what was expected, what was got, what to do next."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

PLACE = re.compile(r"\.(c|cc|cpp|h|hpp):\d+:?$")
"""How a line ends that names a place in the code of a library and says no more."""


class FeathersegError(ValueError):
    """A mistake that the user can mend.

    The message is one line, ``what; expected ...; got ...: remedy``. The command line prints it as it is and exits
    with 2.
    """

    def __init__(self, what: str, *, expected: object = None, got: object = None, remedy: str = "") -> None:
        parts = [what]
        if expected is not None:
            parts.append(f"expected {expected}")
        if got is not None:
            parts.append(f"got {got}")
        line = "; ".join(parts) + (f": {remedy}" if remedy else "")
        super().__init__(" ".join(line.split()))

    def __reduce__(self) -> tuple[type[FeathersegError], tuple[str]]:
        """From process to process the line alone travels."""
        return type(self), (str(self),)


def first_line(error: Exception) -> str:
    """What an error says, of several lines the first that says something; its type where none does."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line and not PLACE.search(line)), type(error).__name__)


def nearest(value: object, allowed: Iterable[object]) -> str:
    """``did you mean 'cbam'?`` for the allowed value that reads most like ``value``; empty where none does."""
    close = difflib.get_close_matches(str(value), [str(item) for item in allowed], n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""


def refuse_unknown(what: str, value: object, allowed: Iterable[object]) -> None:
    """Raise unless ``value`` is one of ``allowed``; the message lists them and names the nearest match."""
    menu = list(allowed)
    if value in menu:
        return
    names = ", ".join(str(item) for item in menu)
    expected = f"one of {names}" if menu else "none, for there are none"
    raise FeathersegError(what, expected=expected, got=repr(value), remedy=nearest(value, menu))
