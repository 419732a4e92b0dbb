"""Which ways of keeping a program in work here: found by letting one try to get out, not by version numbers."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import threading

from cot_distill.errors import SandboxUnavailableError
from cot_distill.sandbox.inside.jobs import FINISHED
from cot_distill.sandbox.tiers import NONE, TIERS, Tier
from cot_distill.sandbox.zygote import BrokenDownError, Job, Zygote

__all__ = ["isolation", "probe", "strongest", "tier_named"]

_MEMORY = 512 << 20
_SECONDS = 10.0
_CANARY = """
import json, os, socket, sys
told = json.load(sys.stdin)

def try_to(name, function):
    try:
        function()
    except OSError:
        return
    print(name, flush=True)

def start():
    if os.fork() == 0:
        os._exit(0)

try_to("read a file outside", lambda: open(told["file"]).read())
try_to("write a file outside", lambda: open(told["file"] + ".new", "w"))
try_to("connect to another program", lambda: socket.create_connection(("127.0.0.1", told["port"]), 1))
try_to("start a process", start)
try_to("signal another process", lambda: os.kill(os.getppid(), 0))
open("mine", "w").write("x")
print("run a command", flush=True)
try_to("go on after that", lambda: os.execv(told["command"], ["true"]))
print("done")
"""
_WAYS_OUT = (
    "Install bubblewrap, or leave unit tests out of the verifiers, or pass a sandbox of your own (Docker, a remote "
    "service), or say execute_unsafely=True, which runs model-written code as you"
)

_found: dict[str, str | None] = {}
_finding = threading.RLock()


def probe() -> dict[str, str | None]:
    """Try every way of keeping a program in. The first call takes about a second, later ones remember.

    Returns:
        By name, from the strongest on: None where it works, otherwise what is missing.

    Example:
        >>> list(probe())
        ['bwrap+landlock+seccomp', 'landlock+seccomp', 'bwrap+seccomp']
    """
    return {tier.name: _trouble(tier) for tier in TIERS}


def isolation() -> str:
    """The strongest way to keep a program in that works here.

    ``bwrap`` stands for namespaces by bubblewrap (no files but a few, no network, no other processes), ``landlock``
    for the kernel's rules on files, ``seccomp`` for those on system calls.

    Returns:
        ``"bwrap+landlock+seccomp"``, ``"landlock+seccomp"``, ``"bwrap+seccomp"``, or ``"none"``.

    Example:
        >>> isolation() in {*probe(), "none"}
        True
    """
    return next((tier.name for tier in TIERS if _trouble(tier) is None), NONE.name)


def strongest() -> Tier:
    """The strongest way that works here.

    Raises:
        SandboxUnavailableError: None works; the message says what is missing, and the ways out.
    """
    for tier in TIERS:
        if _trouble(tier) is None:
            return tier
    found = "; ".join(f"{name}: {trouble}" for name, trouble in probe().items())
    raise SandboxUnavailableError(
        f"code verification needs Linux with bubblewrap or Landlock (found: {found}). {_WAYS_OUT}"
    )


def tier_named(name: str) -> Tier:
    """The way of a name.

    Raises:
        SandboxUnavailableError: It does not work here.
    """
    tier = next(tier for tier in (*TIERS, NONE) if tier.name == name)
    trouble = None if tier is NONE else _trouble(tier)
    if trouble is not None:
        raise SandboxUnavailableError(f"{name} does not work here: {trouble}. {_WAYS_OUT}")
    return tier


def _trouble(tier: Tier) -> str | None:
    with _finding:
        if tier.name not in _found:
            _found[tier.name] = _try(tier)
        return _found[tier.name]


def _try(tier: Tier) -> str | None:
    """Let a program try to get out. None if it could do what it should, and nothing else."""
    if sys.platform != "linux":
        return f"this is {sys.platform}"
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as server:
        secret = os.path.join(directory, "secret")  # noqa: PTH118 - it crosses as text
        with open(secret, "w", encoding="ascii") as file:  # noqa: PTH123
            file.write("secret")
        os.chmod(directory, 0o777)  # noqa: PTH101, S103 - only the sandbox is to stand in the way
        told = {"file": secret, "port": server.getsockname()[1], "command": "/bin/true"}
        job = Job(_CANARY.encode(), json.dumps(told).encode(), with_tests=False, seconds=_SECONDS, memory=_MEMORY)
        try:
            zygote = Zygote(tier)
        except SandboxUnavailableError as error:
            return " ".join(str(error).split())
        try:
            ran = zygote.run(job)
        except BrokenDownError as error:
            return str(error)
        finally:
            zygote.close()
    said = ran.stdout.decode("utf-8", "replace").split("\n")[:-1]
    if said[-2:] == ["run a command", "done"]:
        del said[-2:]
    elif ran.why != FINISHED or ran.program != 0 or not said:
        return f"a program cannot run in it: {ran.stderr.decode('utf-8', 'replace').strip()[-300:] or ran}"
    return f"a program could {', '.join(said)}" if said else None


def _forget() -> None:
    """After a fork: whoever held the lock is in the other process."""
    global _finding
    _finding = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
