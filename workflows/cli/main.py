"""The entry of the command line: signals and errors of every command.

It imports nothing else of sodiate's before signals are handled, so that Ctrl-C at once ends in no traceback either.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn


def _end(number: int, frame: FrameType | None) -> None:
    """End this process by an exception, so that what is open is closed; at once in an import, where none is safe."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(128 + number)
        frame = frame.f_back
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _until_read(app: Callable[[], object]) -> None:
    """Run the commands; raise `BrokenPipeError` if nobody reads any more what they print."""
    try:
        app()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # of which typer and rich make exit code 1
            raise BrokenPipeError from None
        raise


def main() -> NoReturn:
    """Run the command line: a user's mistake is one message and exit code 2, never a traceback."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    mask = os.umask(0o077)
    if mask & 0o002:  # else everybody could change what is computed from: files are the user's alone then
        os.umask(mask)
    gc.set_threshold(1_000_000)  # records are no circles: to look for some at each 50,000 took a fifth of `status`
    from ...errors import SodiateError

    try:
        from .commands import app

        _until_read(app)
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    except SodiateError as error:
        print(f"Error: {error}", file=sys.stderr)
        _leave(2)
    except BrokenPipeError:  # the reader of a pipe (head, less) ended, and had what it wanted
        _leave(0)
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT)
    except OSError as error:
        path = f"{str(error.filename).removesuffix('.partial')}: " if error.filename else ""
        print(f"Error: {path}{error.strerror or error}{_advice(error) if path else ''}", file=sys.stderr)
        _leave(2)
    _leave(0)


def _advice(error: OSError) -> str:
    """Return what to do about a file that cannot be read or written."""
    if isinstance(error, FileNotFoundError):
        return ". Is its folder there?"
    if isinstance(error, IsADirectoryError):
        return ". Give the name of a file."
    return ". `ls -ld` says who may; or choose another place." if isinstance(error, PermissionError) else ""


def _leave(code: int) -> NoReturn:
    """End this process, in which nothing is open any more.

    Else Python would take all its modules apart, and pymongo wait for its threads, for up to half a second.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            pass
        except OSError as error:  # such as a full disk
            os.write(2, f"Error: {error.strerror}\n".encode())
            code = code or 2
    os._exit(code)


if __name__ == "__main__":
    main()
