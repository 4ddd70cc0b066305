"""A stand-in for LSF: a bsub that starts the script on its input at once, a bjobs that lists all, and lsid."""

from __future__ import annotations

import sys
from pathlib import Path

BSUB = """
import os, re, subprocess, sys
from pathlib import Path
jobs = Path({jobs!r})
script = sys.stdin.read()
name = re.search(r"^#BSUB -J (.*)$", script, re.M)[1]
number = str(len(list(jobs.iterdir())) + 101)
(jobs.parent / (number + ".sh")).write_text(script)
(jobs / number).touch()
with open(jobs.parent / (number + ".out"), "w") as log:
    child = subprocess.Popen(["bash", str(jobs.parent / (number + ".sh"))], stdout=log, stderr=log,
                             stdin=subprocess.DEVNULL, start_new_session=True, env=dict(os.environ, LSB_JOBID=number))
(jobs / number).write_text(str(child.pid) + " " + name)
print("This is host24 of 128; 7% of your shares are used.")
print("Job <" + number + "> is submitted to default queue <normal>.")
"""

BJOBS = """
import sys
from pathlib import Path
paths = sorted(Path({jobs!r}).iterdir())
if not paths:
    print("No job found", file=sys.stderr)
    sys.exit(255)
for path in paths:
    pid, name = path.read_text().split()
    try:
        state = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        state = "Z"
    print("|".join((path.name, "DONE" if state == "Z" else "RUN", name, "-")))
"""

LSID = """
print("IBM Spectrum LSF Standard 10.1.0.0")
print("My cluster name is stand-in")
"""


def install(folder: Path) -> Path:
    """Put the three commands into a folder."""
    (folder / "jobs").mkdir(parents=True)
    for name, text in (("bsub", BSUB), ("bjobs", BJOBS), ("lsid", LSID)):
        (folder / name).write_text(f"#!{sys.executable}{text.format(jobs=str(folder / 'jobs'))}")
        (folder / name).chmod(0o755)
    return folder
