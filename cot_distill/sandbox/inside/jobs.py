"""What the two sides of the fork server's socket say to each other."""

from __future__ import annotations

import struct

__all__ = ["FILES", "FINISHED", "JOB", "LONGEST", "READY", "REPLY", "STOP", "STOPPED", "TIMEOUT"]

READY = b"ready"
STOP = b"s"
JOB = struct.Struct("=?dq")
"""A job: whether there is a process for tests; seconds; bytes of memory. With it come the descriptors of: the
program's code, its standard input or the tests, its standard output, standard error, and the pipe for the verdict."""
REPLY = struct.Struct("=iiid")
"""What came of it: why it ended; the wait statuses of the program and of the tests, -1 if killed there; seconds."""
FINISHED, TIMEOUT, STOPPED, FILES = range(4)
"""Why a job ended: by itself, by the clock, by order, by writing too many files."""
LONGEST = 3
"""How many times its seconds a job may take where the machine is too busy to give it what it needs."""
