"""The filter of system calls, run step by step as the kernel would, for every architecture that has a table."""

from __future__ import annotations

import errno
import struct
import sys

import pytest

from cot_distill.sandbox.inside import seccomp
from cot_distill.sandbox.inside.kernel import MACHINES

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
PID = 4711


def decide(name: str, number: int, *args: int, arch: int | None = None) -> int:
    """What the filter says of a call."""
    data = struct.pack("=IIQ6Q", number, arch or MACHINES[name], 0, *args, *[0] * (6 - len(args)))
    steps = list(struct.iter_unpack("=HBBI", seccomp.program(name, PID)))
    place = held = 0
    for _ in range(len(steps)):
        code, yes, no, value = steps[place]
        place += 1
        if code == 0x20:
            (held,) = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[code]
            place += yes if holds else no
    raise AssertionError("no decision")


@pytest.fixture(params=sorted(MACHINES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_what_is_in_the_table_is_allowed_and_nothing_else(name: str) -> None:
    known = seccomp.numbers(name)
    free = {number for call, number in known.items() if call not in seccomp.RULES}
    ruled = {known[call] for call in seccomp.RULES} | set(seccomp.pretended(name).values())
    for number in (*range(600), 0x3FFFFFFF):
        if number not in ruled:
            refused = ENOSYS if number >= 424 else EPERM
            assert decide(name, number) == (ALLOW if number in free else refused), number


def test_what_is_pretended_does_nothing_and_is_no_error(name: str) -> None:
    assert not seccomp.pretended(name).keys() & seccomp.numbers(name).keys()
    for number in seccomp.pretended(name).values():
        assert decide(name, number) == 0x50000


def test_the_calls_that_depend_on_an_argument(name: str) -> None:
    known = seccomp.numbers(name)
    thread = 0x003D0F00
    for call, args, allowed in (
        ("clone", (thread,), True),
        ("clone", (17,), False),
        ("clone", (thread | 0x10000000,), False),
        ("clone", (0,), False),
        ("kill", (PID, 9), True),
        ("kill", (1, 9), False),
        ("kill", (0xFFFFFFFF, 9), False),
        ("kill", (0, 9), False),
        ("tgkill", (PID, PID, 6), True),
        ("tgkill", (PID + 1, PID, 6), False),
        ("fcntl", (3, 3), True),
        ("fcntl", (3, 1030), True),
        ("fcntl", (3, 8), False),
        ("fcntl", (3, 10), False),
        ("ioctl", (0, 0x5401), True),
        ("ioctl", (0, 0x5412), False),
        ("ioctl", (0, 0x1_0000_5401), True),
        ("prctl", (15,), True),
        ("prctl", (4,), False),
        ("prctl", (1,), False),
        ("prctl", (22,), False),
        ("prlimit64", (0,), True),
        ("prlimit64", (7,), False),
        ("socketpair", (1,), True),
        ("socketpair", (16,), False),
        ("sendto", (3, 0, 1, 0, 0), True),
        ("sendto", (3, 0, 1, 0, 8), False),
        ("sendto", (3, 0, 1, 0, 1 << 40), False),
    ):
        assert (decide(name, known[call], *args) == ALLOW) is allowed, (call, args)
    assert {"clone", "kill", "tgkill", "fcntl", "ioctl", "prctl", "prlimit64", "socketpair", "sendto"} == set(
        seccomp.RULES
    )


def test_the_numbers_of_another_architecture_end_the_process(name: str) -> None:
    for arch in (0x40000003, 0x40000028, *MACHINES.values()):
        if arch != MACHINES[name]:
            assert decide(name, 0, arch=arch) == KILL
    assert decide(name, 0x40000000 | 39) == KILL


@pytest.mark.skipif(sys.platform != "linux", reason="the headers of Linux")
@pytest.mark.parametrize(
    ("name", "header"),
    [("x86_64", "x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "asm-generic/unistd.h")],
)
def test_the_numbers_are_those_of_the_headers(name: str, header: str) -> None:
    try:
        with open(f"/usr/include/{header}", encoding="ascii") as file:
            lines = [line.split() for line in file if line.startswith("#define __NR")]
    except OSError:
        pytest.skip("there are no headers here")
    found: dict[str, str] = {}
    for _, symbol, number, *_ in lines:
        found.setdefault(symbol.removeprefix("__NR3264_").removeprefix("__NR_"), number)
    renamed = {"newfstatat": "fstatat"} if name == "aarch64" else {}
    numbers = {**seccomp.numbers(name), **seccomp.pretended(name)}
    assert {call: found[renamed.get(call, call)] for call in numbers} == {
        call: str(number) for call, number in numbers.items()
    }
