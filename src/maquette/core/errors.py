"""One family of errors: each says what came and what was expected, and what to do next.

The command line prints the two parts and no traceback; a Python caller catches `MaquetteError`, or the built-in
error that each kind also is.
"""


class MaquetteError(Exception):
    """A failure that we can explain.

    `message` says what came and what was expected, `next_step` what to do about it. `exit_code` is what the command
    line ends with: 2 for a mistake of the user, 1 for ours.
    """

    exit_code = 1

    def __init__(self, message: str, next_step: str):
        super().__init__(message, next_step)  # both in args, so that the error survives pickling between processes
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}; {self.next_step}"


class BadInput(MaquetteError, ValueError):
    """A prompt, picture, file, folder or option that we cannot use."""

    exit_code = 2


class MissingExtra(MaquetteError, ImportError):
    """An optional package is needed; the next step names the extra that installs it. Raised on use, not on import."""

    exit_code = 2


class NonFinite(MaquetteError, ArithmeticError):
    """A number became NaN or infinite; the message names the parameter and the step."""


class Unsupported(MaquetteError, NotImplementedError):
    """This backend or representation cannot do that; the next step names the one that can."""
