"""The one exception that a user's mistake ends in, and the nearest right word for a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """What a user can mend, in one line.

    >>> try:
    ...     edgeface.Predictor.load("acdc_x")
    ... except edgeface.InputError as error:
    ...     print(error)

    Bad input: the message reads *what must be. Received: what was*, or says what is missing and the way out.

    Commands print it as one line and exit with code 2; nothing else is caught there.
    """


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """`` Did you mean 'acdc_s'?``, to end a message with; "" where nothing known is near.

    Args:
        word: What was received.
        known: The words that would have been right.
    """
    words = {name.lower(): name for name in known}
    near = get_close_matches(str(word).lower(), words, n=1, cutoff=0.6)
    return f". Did you mean {words[near[0]]!r}?" if near else ""


def must_be_one_of(what: str, known: Iterable[str], received: object) -> str:
    """The message for a word that is not among ``known``, with the nearest one that is.

    Args:
        what: What the word names: "set", "markup", "my.toml: key" ...
        known: The allowed words, in the order in which they are listed.
        received: What was received.
    """
    known = tuple(known)
    return f"{what} must be one of {', '.join(known)}. Received: {received!r}{did_you_mean(received, known)}"
