"""
How a command fails, and the exit codes of the command line.
"""

#: besides 0, and 130 when interrupted
FAILED, USAGE, UNAUTHORIZED, PARTIAL, THROTTLED = 1, 2, 4, 5, 6


def install(extras: str) -> str:
    """Say how to install `extras`: from the source, because no registry has temppass."""
    return f"pip install '.[{extras}]' in the folder of the source"


class Failure(Exception):
    """A command cannot do what it was asked; `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "", code: int = FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code
