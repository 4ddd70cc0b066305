"""The root of all errors."""


class SodiateError(Exception):
    """Root of all errors that sodiate raises for its users.

    The message names what is wrong, where (file, key or directory) and what to do next; the command line
    prints it without a traceback.
    """
