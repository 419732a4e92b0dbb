"""Which system calls a job may make: an allow list, compiled to the filter program that the kernel runs.

A thread may be started, a process may not: neither fork nor exec is on the list, so there are no fork bombs, zombies,
daemons or subprocesses. There are no sockets but connected pairs, which asyncio needs. Signals go to the process
itself only. What is not on the list fails with EPERM, or with ENOSYS where the C library then tries an older call.

The numbers of aarch64 are from its header; this has not been run on such a machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable

from .kernel import MACHINES, machine, prctl

__all__ = ["RULES", "numbers", "prepare", "pretended", "program"]

RULES: dict[str, tuple[str, int, tuple[int, ...]]] = {
    # F_SETOWN with F_SETSIG would send any signal to any process of this user.
    "fcntl": ("is", 1, (0, 1, 2, 3, 4, 5, 6, 7, 1030)),  # F_DUPFD … F_SETLKW, F_DUPFD_CLOEXEC
    "ioctl": ("is", 1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),  # is it a terminal, non-blocking, close
    "prctl": ("is", 0, (3, 15, 16, 0x53564D41)),  # GET_DUMPABLE, SET_NAME, GET_NAME, SET_VMA (of malloc)
    "prlimit64": ("is", 0, (0,)),
    "socketpair": ("is", 0, (1,)),  # AF_UNIX
    "sendto": ("null", 4, ()),  # on a connected pair, never to an address
    "kill": ("self", 0, ()),
    "tgkill": ("self", 0, ()),
    "clone": ("thread", 0, ()),
}
"""Those of the allowed system calls that depend on an argument: how it is compared, which one it is, which values."""

_NUMBERS = {
    "x86_64": """
        read 0 write 1 open 2 close 3 stat 4 fstat 5 lstat 6 poll 7 lseek 8 mmap 9 mprotect 10 munmap 11 brk 12
        rt_sigaction 13 rt_sigprocmask 14 rt_sigreturn 15 ioctl 16 pread64 17 pwrite64 18 readv 19 writev 20 access 21
        pipe 22 select 23 sched_yield 24 mremap 25 madvise 28 dup 32 dup2 33 pause 34 nanosleep 35 getitimer 36
        alarm 37 setitimer 38 getpid 39 sendfile 40 sendto 44 recvfrom 45 shutdown 48 getsockname 51 getpeername 52
        socketpair 53 getsockopt 55 clone 56 exit 60 wait4 61 kill 62 uname 63 fcntl 72 flock 73 fsync 74 fdatasync 75
        truncate 76 ftruncate 77 getdents 78 getcwd 79 chdir 80 fchdir 81 rename 82 mkdir 83 rmdir 84 creat 85
        unlink 87 readlink 89 umask 95 gettimeofday 96 getrlimit 97 getrusage 98 sysinfo 99 times 100 getuid 102
        getgid 104 geteuid 107 getegid 108 getppid 110 getpgrp 111 getgroups 115 getresuid 118 getresgid 120
        getpgid 121 getsid 124 rt_sigpending 127 rt_sigtimedwait 128 rt_sigsuspend 130 sigaltstack 131 statfs 137
        fstatfs 138 getpriority 140 sched_getparam 143 sched_getscheduler 145 sched_get_priority_max 146
        sched_get_priority_min 147 sched_rr_get_interval 148 prctl 157 setrlimit 160 gettid 186 time 201 futex 202
        sched_getaffinity 204 epoll_create 213 getdents64 217 set_tid_address 218 restart_syscall 219 fadvise64 221
        clock_gettime 228 clock_getres 229 clock_nanosleep 230 exit_group 231 epoll_wait 232 epoll_ctl 233 tgkill 234
        waitid 247 openat 257 mkdirat 258 newfstatat 262 unlinkat 263 renameat 264 readlinkat 267 faccessat 269
        pselect6 270 ppoll 271 set_robust_list 273 get_robust_list 274 epoll_pwait 281 eventfd 284 fallocate 285
        eventfd2 290 epoll_create1 291 dup3 292 pipe2 293 preadv 295 pwritev 296 prlimit64 302 getcpu 309
        renameat2 316 getrandom 318 membarrier 324 copy_file_range 326 statx 332 rseq 334
    """,
    "aarch64": """
        getcwd 17 eventfd2 19 epoll_create1 20 epoll_ctl 21 epoll_pwait 22 dup 23 dup3 24 fcntl 25 ioctl 29 flock 32
        mkdirat 34 unlinkat 35 renameat 38 statfs 43 fstatfs 44 truncate 45 ftruncate 46 fallocate 47 faccessat 48
        chdir 49 fchdir 50 openat 56 close 57 pipe2 59 getdents64 61 lseek 62 read 63 write 64 readv 65 writev 66
        pread64 67 pwrite64 68 preadv 69 pwritev 70 sendfile 71 pselect6 72 ppoll 73 readlinkat 78 newfstatat 79
        fstat 80 fsync 82 fdatasync 83 exit 93 exit_group 94 waitid 95 set_tid_address 96 futex 98 set_robust_list 99
        get_robust_list 100 nanosleep 101 getitimer 102 setitimer 103 clock_gettime 113 clock_getres 114
        clock_nanosleep 115 sched_getscheduler 120 sched_getparam 121 sched_getaffinity 123 sched_yield 124
        sched_get_priority_max 125 sched_get_priority_min 126 sched_rr_get_interval 127 restart_syscall 128 kill 129
        tgkill 131 sigaltstack 132 rt_sigsuspend 133 rt_sigaction 134 rt_sigprocmask 135 rt_sigpending 136
        rt_sigtimedwait 137 rt_sigreturn 139 getpriority 141 getresuid 148 getresgid 150 times 153 getpgid 155
        getsid 156 getgroups 158 uname 160 getrlimit 163 setrlimit 164 getrusage 165 umask 166 prctl 167 getcpu 168
        gettimeofday 169 getpid 172 getppid 173 getuid 174 geteuid 175 getgid 176 getegid 177 gettid 178 sysinfo 179
        socketpair 199 getsockname 204 getpeername 205 sendto 206 recvfrom 207 getsockopt 209 shutdown 210 brk 214
        munmap 215 mremap 216 clone 220 mmap 222 fadvise64 223 mprotect 226 madvise 233 wait4 260 prlimit64 261
        renameat2 276 getrandom 278 membarrier 283 copy_file_range 285 statx 291 rseq 293
    """,
}
"""Every system call that is allowed: by its name, the number. Files are Landlock's and bubblewrap's part."""
_PRETENDED = {
    "x86_64": "chmod 90 fchmod 91 listxattr 194 llistxattr 195 flistxattr 196 fchmodat 268 utimensat 280",
    "aarch64": "listxattr 11 llistxattr 12 flistxattr 13 fchmod 52 fchmodat 53 utimensat 88",
}
"""System calls that do nothing and say that they did. Landlock has no say in them, so that they must not reach files;
but a program that copies a file, and its mode with it, need not fail for that."""
_SAME_EVERYWHERE = "close_range 436 faccessat2 439 epoll_pwait2 441 futex_waitv 449"
_NEW = 424
"""From here on system calls have the same number everywhere, and the C library copes without them."""
_X32 = 0x40000000
_ANY_PID = 0x7FFFFFFF
"""Stands for a process that does not exist yet; no process can have this number."""

# What a filter is made of: see linux/filter.h and linux/seccomp.h.
_LOAD, _EQUAL, _GREATER_EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NR, _ARCH, _ARGS = 0, 4, 16
_CLONE_THREAD, _CLONE_NEW = 0x00010000, 0x7E020000

_Step = tuple[int, int, int, int]
_PERMIT: _Step = (_RETURN, 0, 0, _ALLOW)
_REFUSE: _Step = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
_PRETEND: _Step = (_RETURN, 0, 0, _ERRNO)


def numbers(name: str) -> dict[str, int]:
    """The allowed system calls of an architecture, and their numbers there."""
    return _table(f"{_NUMBERS[name]} {_SAME_EVERYWHERE}")


def pretended(name: str) -> dict[str, int]:
    """The system calls of an architecture that do nothing, and their numbers there."""
    return _table(_PRETENDED[name])


def program(name: str, pid: int) -> bytes:
    """Compile the filter.

    Args:
        name: The architecture, one of ``kernel.MACHINES``.
        pid: The process that it is for: signals may go to this one only.

    Returns:
        Steps of 8 bytes each.
    """
    known = numbers(name)
    # A call by the numbers of another architecture would be read by the wrong table: that process ends.
    steps: list[_Step] = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, MACHINES[name]), (_RETURN, 0, 0, _KILL)]
    steps += [(_LOAD, 0, 0, _NR), (_GREATER_EQUAL, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    for call, rule in RULES.items():
        body = _rule(*rule, pid=pid)
        steps += [(_EQUAL, 0, len(body), known[call]), *body]
    for number in pretended(name).values():
        steps += [(_EQUAL, 0, 1, number), _PRETEND]
    steps += _tree(_ranges(sorted(number for call, number in known.items() if call not in RULES)))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def prepare() -> Callable[[], None]:
    """Compile the filter once, for all the processes that this one will fork.

    Returns:
        A function to call in such a process: it confines it, and its threads to come, for good. It raises OSError
        where the kernel has no seccomp filters.

    Raises:
        OSError: There is no table of system calls for this architecture.
    """
    code = program(machine(), _ANY_PID)
    held = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    filter_ = ctypes.create_string_buffer(header, len(header))
    places = [place for place in range(4, len(code), 8) if code[place : place + 4] == struct.pack("=I", _ANY_PID)]

    def install() -> None:
        for place in places:
            struct.pack_into("=I", held, place, os.getpid())
        prctl(22, 2, filter_)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER

    return install


def _table(text: str) -> dict[str, int]:
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


def _rule(how: str, argument: int, values: tuple[int, ...], *, pid: int) -> list[_Step]:
    """Steps that end in a decision. Arguments are compared as 32 bits: the kernel reads no more of these."""
    low = _ARGS + 8 * argument
    if how == "thread":
        steps = [(_LOAD, 0, 0, low), (_ANY_BIT, 1, 0, _CLONE_NEW), (_ANY_BIT, 1, 0, _CLONE_THREAD)]
        return [*steps, _REFUSE, _PERMIT]
    if how == "null":  # a pointer: both halves
        return [(_LOAD, 0, 0, low), (_EQUAL, 0, 2, 0), (_LOAD, 0, 0, low + 4), (_EQUAL, 1, 0, 0), _REFUSE, _PERMIT]
    values = (pid,) if how == "self" else values
    compare = [(_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [(_LOAD, 0, 0, low), *compare, _REFUSE, _PERMIT]


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Neighbours taken together, as (first, last + 1)."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found


def _tree(ranges: list[tuple[int, int]]) -> list[_Step]:
    """A binary search: the kernel tries each number when it loads a filter, so the length of a path matters."""
    if len(ranges) > 1:
        middle = len(ranges) // 2
        left, right = _tree(ranges[:middle]), _tree(ranges[middle:])
        return [(_GREATER_EQUAL, len(left), 0, ranges[middle][0]), *left, *right]
    first, end = ranges[0]
    allow = [(_GREATER_EQUAL, 0, 2, first), (_GREATER_EQUAL, 1, 0, end), _PERMIT]
    absent = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    return [*allow, (_GREATER_EQUAL, 0, 1, _NEW), absent, _REFUSE]
