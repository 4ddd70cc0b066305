"""A stand-in for PBS: a qsub that starts a job's script at once, and a qstat that lists what still runs."""

from __future__ import annotations

import sys
from pathlib import Path

QSUB = """
import os, subprocess, sys
from pathlib import Path
jobs = Path({jobs!r})
number = str(len(list(jobs.iterdir())) + 101)
with open(jobs / number, "w") as log:
    child = subprocess.Popen(["bash", sys.argv[1]], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                             start_new_session=True, env=dict(os.environ, PBS_JOBID=number + ".server"))
name = next(line.split()[2] for line in open(sys.argv[1]) if line.startswith("#PBS -N"))
(jobs.parent / "pids" / number).write_text(str(child.pid) + " " + name)
print("Welcome to node7 of 12; 3% of your budget is left")
print(number + ".server")
"""

QSTAT = """
import sys
from pathlib import Path
if "-B" in sys.argv:
    print("Server: server")
    sys.exit()
print("Job id            Name             User              Time Use S Queue")
print("----------------  ---------------- ----------------  -------- - -----")
for path in sorted(Path({pids!r}).iterdir()):
    pid, name = path.read_text().split()
    try:
        state = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        continue
    if state != "Z":
        print(path.name + ".server        " + name.ljust(16) + " me                00:00:00 R workq")
"""


def install(folder: Path) -> Path:
    """Put qsub and qstat into a folder; what jobs print is in its ``jobs``."""
    for name in ("jobs", "pids"):
        (folder / name).mkdir(parents=True)
    for name, text in (("qsub", QSUB), ("qstat", QSTAT)):
        filled = text.format(jobs=str(folder / "jobs"), pids=str(folder / "pids"))
        (folder / name).write_text(f"#!{sys.executable}{filled}")
        (folder / name).chmod(0o755)
    return folder
