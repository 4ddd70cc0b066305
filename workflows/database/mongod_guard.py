"""The small process that starts a private mongod and stops it after its last user.

``mongod.py`` runs this file as a script, with the standard library only:

    mongod_guard.py USERS_FD ALIVE_FD SOCKET RECORD MONGOD [ARGUMENT ...]

USERS_FD is an open, unlocked descriptor of the users' lock file; ALIVE_FD one that already holds the alive
lock. Standard error is the server's log. One line goes to standard output: ``ready PID`` when the server
accepts connections, or ``exit CODE`` when it ended before that.
"""

import ctypes
import fcntl
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

HEARTBEAT_S = 5.0
"""Seconds between two touches of the record and the lock files: the heartbeat for other hosts."""

STOP_LIMIT_S = 60.0
"""Seconds that mongod has to write its checkpoint before it is killed; its journal then keeps the data."""

_PR_SET_PDEATHSIG = 1


def answers(path: str) -> bool:
    """Tell whether something accepts connections on the unix socket `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5.0)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _spawn(command: list[str]) -> int:
    """Start mongod as a child, its output in the log. On Linux it dies with this process, even after kill -9."""
    guard = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(2, 1)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != guard:
                os._exit(1)
        os.execv(command[0], command)
    except BaseException as error:
        os.write(2, f"cannot run {command[0]}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(127)


def _say(line: str) -> None:
    # The first user may have died meanwhile; the lock, not this pipe, shows whether the server is still needed.
    with suppress(OSError):
        os.write(1, f"{line}\n".encode())


def _announce_and_beat(server: str, pid: int, touched: list[str]) -> None:
    while not answers(server):
        time.sleep(0.005)
    _say(f"ready {pid}")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    while True:
        time.sleep(HEARTBEAT_S)
        # Cleaners of /tmp go by age, so touch the lock files, too.
        for path in touched:
            with suppress(OSError):
                os.utime(path)


def _stop_when_unused(users: int, pid: int, unused: threading.Event) -> None:
    # Every user holds this lock shared, so the kernel grants it when the last user has ended, even by a kill.
    fcntl.flock(users, fcntl.LOCK_EX)
    unused.set()
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        time.sleep(STOP_LIMIT_S)
        os.kill(pid, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """Start mongod, wait until it is unused or dead, and clean up after it."""
    users, server, record, command = int(arguments[0]), arguments[2], arguments[3], arguments[4:]
    if os.fork():
        os._exit(0)  # init adopts the guard, so that no user has to reap it
    os.set_inheritable(users, False)  # mongod keeps ALIVE_FD, arguments[1], and nothing else
    pid = _spawn(command)
    locks = [server.removesuffix(".sock") + end for end in (".users", ".alive")]
    unused = threading.Event()
    threading.Thread(target=_stop_when_unused, args=(users, pid, unused), daemon=True).start()
    threading.Thread(target=_announce_and_beat, args=(server, pid, [record, *locks]), daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if unused.is_set():
        # Only under the exclusive lock: otherwise a successor may already own these files.
        for path in (record, server, *locks):
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108, pathlib doubles the start-up time of this script
    _say(f"exit {code}")
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
