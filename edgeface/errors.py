"""The one exception that a user's mistake ends in."""


class InputError(ValueError):
    """Bad input: the message reads *what must be. Received: what was*.

    Commands print it as one line and exit with code 2; nothing else is caught there.
    """
