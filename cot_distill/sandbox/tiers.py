"""The ways to keep a program in, and the command line that starts the fork server in each.

What they rest on: namespaces (by bubblewrap), Landlock (files) and seccomp (system calls). Knows nothing of jobs, nor
whether any of it works here: that is tried, in ``probing``.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cot_distill.errors import SandboxUnavailableError
from cot_distill.sandbox.workplaces import Workplace

__all__ = ["NONE", "TIERS", "Start", "Tier", "start_of"]


class Tier(NamedTuple):
    """A way to keep a program in."""

    name: str
    bwrap: bool
    landlock: bool
    seccomp: bool


TIERS = (
    Tier("bwrap+landlock+seccomp", bwrap=True, landlock=True, seccomp=True),
    Tier("landlock+seccomp", bwrap=False, landlock=True, seccomp=True),  # containers forbid user namespaces
    Tier("bwrap+seccomp", bwrap=True, landlock=False, seccomp=True),  # kernels before 6.2
)
"""From the strongest on."""

NONE = Tier("none", bwrap=False, landlock=False, seccomp=False)

_LIBRARIES = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64")
_DATA = ("/etc/ld.so.cache", "/usr/share/zoneinfo")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_HERE = Path(__file__).parent
_INSIDE = "/sandbox"
_OWN = "/tmp"  # noqa: S108 - a file system of its own, in the namespace of the sandbox
_OWN_BYTES = 64 << 20
_BOOT = "import sys; sys.path.insert(0, {!r}); from inside.server import main; del sys.path[0]; main()"


class Start(NamedTuple):
    """How to start a fork server."""

    command: list[str]
    environment: dict[str, str]
    place: Workplace | None
    """A directory that was made for it, to be removed at its end."""


def start_of(tier: Tier, paths: Sequence[str]) -> Start:
    """Prepare the start of a fork server.

    Args:
        tier: How it is to be confined.
        paths: Where programs may import from, beside the standard library.

    Raises:
        SandboxUnavailableError: There is no bubblewrap.
    """
    root = hasattr(os, "getuid") and os.getuid() == 0
    uid = _stranger() if root and tier is not NONE else None
    bwrap = shutil.which("bwrap") if tier.bwrap else None
    if tier.bwrap and bwrap is None:
        raise SandboxUnavailableError("bubblewrap is not installed")
    place = None if bwrap else Workplace(uid)
    own = place.path if place else _OWN
    # Bound to places of their own: what is bound below /tmp would be hidden.
    inside = {path: f"{_INSIDE}/path-{number}" if bwrap else path for number, path in enumerate(paths)}
    settings = {
        "landlock": tier.landlock,
        "seccomp": tier.seccomp,
        "uid": uid,
        "read": [*_read(), *inside.values()],
        "own": own,
        "paths": list(inside.values()),
        "parent": 0 if bwrap or tier is NONE else os.getpid(),
        "alone": bool(bwrap) or uid is not None,
    }
    boot = _BOOT.format(_INSIDE if bwrap else str(_HERE))
    # Not -I: that would ignore the hash seed, and a verdict must not depend on the order of a set.
    python = [_interpreter(), "-s", "-S", "-P", "-B", "-X", "utf8", "-c", boot, json.dumps(settings)]
    environment = {"HOME": own, "TMPDIR": own, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    return Start([*(_bwrap(bwrap, inside, root=root) if bwrap else []), *python], environment, place)


def _bwrap(program: str, paths: Mapping[str, str], *, root: bool) -> list[str]:
    # No --new-session: in a scheduling group of its own the low priority would count for nothing. There is no
    # terminal to protect: none is open here, and seccomp lets nothing be typed into one.
    command = [program, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--die-with-parent", "--hostname", "sandbox", "--cap-drop", "ALL"]
    # Root becomes another user itself, later: only root can reach an interpreter in its home.
    command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if root else ["--unshare-user"]
    binds = [path for path in (*_read(), _interpreter()) if os.path.lexists(path)]
    mounts: list[str] = []
    for path in binds:
        link = Path(path).is_symlink() and str(Path(path).readlink())
        mounts += ["--symlink", link, path] if link else ["--ro-bind", path, path]
    for device in _DEVICES:
        mounts += ["--dev-bind", device, device]
    for path, there in {str(_HERE / "inside"): f"{_INSIDE}/inside", **paths}.items():
        mounts += ["--ro-bind", path, there]
    mounts += ["--perms", "1777", "--size", str(_OWN_BYTES), "--tmpfs", _OWN, "--remount-ro", "/", "--chdir", "/"]
    for parent in _parents([*binds, *_DEVICES, f"{_INSIDE}/inside", f"{_OWN}/.", *paths.values()]):
        command += ["--perms", "0755", "--dir", parent]  # for root, bubblewrap would make them 0700
    return [*command, *mounts, "--"]


def _parents(paths: Iterable[str]) -> list[str]:
    """The directories above paths, from the top down."""
    links = {path for path in _LIBRARIES if Path(path).is_symlink()}
    found = {str(parent) for path in paths for parent in Path(path).parents} - links
    return sorted(found - {"/"}, key=lambda path: path.count("/"))


def _interpreter() -> str:
    """The program that runs, free of any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _read() -> list[str]:
    """What a program may read: shared libraries and the standard library."""
    own = [str(Path(sysconfig.get_path("stdlib")).resolve())]
    own += [str(Path(prefix) / "lib") for prefix in {sys.base_prefix, sys.base_exec_prefix} if prefix != "/usr"]
    paths = [path for path in dict.fromkeys([*_LIBRARIES, *own, *_DATA]) if os.path.lexists(path)]
    return [path for path in paths if not any(path.startswith(f"{other}/") for other in paths)]


def _stranger() -> int | None:
    """The number of a user that owns nothing here; None if this user namespace has no other users."""
    ranges: list[tuple[int, int]] = []
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines():
            first, _, count = map(int, line.split())
            ranges.append((count, first))
    count, first = max(ranges, default=(2**31, 0))
    if count <= 1:
        return None
    count = min(count, 2**31 - first)
    return first + count // 2 + secrets.randbelow(count // 2)
