"""The one exception that is meant for the user."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: what was expected, what came, and what to do. The command line prints it and exits
    with 2; a program may catch it as a ValueError.
    """
