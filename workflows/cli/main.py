"""The command line, all commands of it."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from ... import SodiateError
from . import carry, cluster, converge, database, look, report, results, run, serve  # noqa: F401  # their commands
from .app import app


def main() -> NoReturn:
    """Run the command line: a user's mistake is one message and exit code 2, never a traceback."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        app()
    except SodiateError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of a pipe (head, less) left
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"Error: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)


if __name__ == "__main__":
    main()
