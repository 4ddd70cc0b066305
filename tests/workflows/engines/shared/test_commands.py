"""Mistakes in commands, and what ends of commands mean; the error outputs are real ones, shortened where said."""

from __future__ import annotations

import pytest
from sodiate.workflows.engines.shared.commands import end_of, last_words, mistake

RULER = "-" * 74

NO_PROGRAM = f"""{RULER}
mpiexec was unable to find the specified executable file, and therefore
did not launch the job.  This error was first reported for process
rank 0; it may have occurred for other processes as well.

NOTE: A common cause for this error is misspelling a mpiexec command
      line parameter option (remember that mpiexec interprets the first
      unrecognized command line token as the executable).

Node:       node7
Executable: gpow
{RULER}
2 total processes failed to start
"""

NO_SLOTS = f"""{RULER}
There are not enough slots available in the system to satisfy the 2
slots that were requested by the application:

  /venv/bin/gpaw

Either request fewer slots for your application, or make more slots
available for use.
{RULER}
"""

NON_ZERO = f"""{RULER}
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
{RULER}
"""

NOTICED = f"""{RULER}
mpiexec noticed that process rank 1 with PID 0 on node node7 exited on signal 9 (Killed).
{RULER}
"""

TRACEBACK = f"""rank=0 L00: Traceback (most recent call last):
rank=0 L01:   File "bad.py", line 1, in <module>
rank=0 L02:     import dftd3
rank=0 L03: ModuleNotFoundError: No module named 'dftd3'
GPAW CLEANUP (node 0): <class 'ModuleNotFoundError'> occurred.  Calling MPI_Abort!
{RULER}
MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD
with errorcode 42.

NOTE: invoking MPI_ABORT causes Open MPI to kill all MPI processes.
You may or may not see output from other processes, depending on
exactly when Open MPI kills them.
{RULER}
[node7:01254] [[26648,0],0] ORTE_ERROR_LOG: Data unpack would read past end of buffer in file show_help.c at line 501
"""

MPICH = """
===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   PID 4711 RUNNING AT node7
=   EXIT CODE: 9
=   CLEANING UP REMAINING PROCESSES
=   YOU CAN IGNORE THE BELOW CLEANUP MESSAGES
===================================================================================
YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)
This typically refers to a problem with your application.
"""

INTEL = """
===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   RANK 1 PID 4711 RUNNING AT node7
=   KILLED BY SIGNAL: 15 (Terminated)
===================================================================================
"""

SLURM = """srun: error: node7: task 1: Out Of Memory
slurmstepd: error: Detected 1 oom_kill event in StepId=12.0. Some of the step tasks have been OOM Killed.
"""


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        (134, NO_PROGRAM, "there is no program gpow, or it cannot be run (exit status 134)"),
        (1, NO_SLOTS, "There are not enough slots available in the system to satisfy the 2 slots"),
        (42, TRACEBACK, "result: ModuleNotFoundError: No module named 'dftd3' (exit status 42)"),
        (3, f"licence server down\n{NON_ZERO}", "result: licence server down (exit status 3)"),
        (3, NON_ZERO, "ended without a result (exit status 3)"),
        (127, "sh: 1: gpow: not found\n", "sh: 1: gpow: not found (exit status 127)"),
        (1, "mpiexec: Error: unknown option \"--bog\"\nType 'mpiexec --help' for usage.\n", 'unknown option "--bog"'),
        (0, "", "ended without a result (exit status 0)"),
        (None, "", "ended without a result"),
        (139, NON_ZERO, "ended without a result, by signal 11 (SIGSEGV)"),
        (-6, "terminate called: what(): std::bad_alloc\n", "by signal 6 (SIGABRT): terminate called: what(): std::"),
    ],
)
def test_what_a_command_said_last(code: int | None, text: str, words: str) -> None:
    end = end_of(code, text, 0)
    assert words in end.words
    assert "---" not in end.words
    assert not end.killed


@pytest.mark.parametrize(
    ("code", "text", "oom_kills", "words", "out_of_memory"),
    [
        (137, NON_ZERO, None, "ended without a result, by signal 9 (SIGKILL): out of memory?", False),
        (137, NOTICED, 0, "ended without a result, by signal 9 (SIGKILL): out of memory?", False),
        (-9, "", 1, "ended without a result, by signal 9 (SIGKILL): out of memory", True),
        (9, MPICH, None, "ended without a result, by signal 9 (SIGKILL): out of memory?", False),
        (15, INTEL, 1, "ended without a result, by signal 15 (SIGTERM)", False),
        (143, NON_ZERO, 0, "ended without a result, by signal 15 (SIGTERM)", False),
        (137, SLURM, None, "ended without a result, by signal 9 (SIGKILL): out of memory", True),
    ],
)
def test_who_was_killed(code: int, text: str, oom_kills: int | None, words: str, out_of_memory: bool) -> None:
    end = end_of(code, text, oom_kills)
    assert (end.words, end.killed, end.out_of_memory) == (words, True, out_of_memory)


def test_a_long_message_is_cut() -> None:
    assert len(last_words("x" * 5000)) < 400


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", "it is empty"),
        ("   ", "it is empty"),
        ("mpiexec -n {cores} gpaw python run.py", "{cores} is not replaced; what is replaced is {ranks}"),
        ("mpiexec -n {} gpaw python run.py", "{} is not replaced"),
        ("module load gpaw && mpiexec -n 2 gpaw python run.py", "begins with module, which only a shell knows"),
        ("source env && gpaw", "begins with source"),
        ("OMP_NUM_THREADS=1 mpiexec -n 2 gpaw", "begins with OMP_NUM_THREADS=1"),
        ("gpaw python run.py && true", "&& is for a shell"),
        ("gpaw python run.py; true", "run.py; is for a shell"),
        ("gpaw python run.py > out", "> is for a shell"),
        ("mpiexec -n $SLURM_NTASKS gpaw", "$SLURM_NTASKS is for a shell"),
        ("mpiexec -n ${N} gpaw", "${N} is for a shell"),
        ("sh -c 'gpaw", "a quote is open"),
    ],
)
def test_mistakes_in_words(command: str, words: str) -> None:
    assert words in (mistake(command, ("ranks",)) or "")


@pytest.mark.parametrize(
    "command",
    [
        "mpiexec -n {ranks} gpaw python run.py",
        "sh -c 'module load gpaw && exec mpiexec -n {ranks} gpaw python run.py > $HOME/out'",
        "'/opt/my venv/bin/gpaw' python run.py",
        "srun --mpi=pmix -n {ranks} gpaw python run.py",
        "env OMP_NUM_THREADS=1 mpiexec -np 4 gpaw python run.py",
    ],
)
def test_commands_without_mistakes(command: str) -> None:
    assert mistake(command, ("ranks",)) is None
