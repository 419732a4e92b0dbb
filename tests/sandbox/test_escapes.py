"""Programs that reach out. Each says whether it got anywhere; what can be seen from outside is looked at."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cot_distill.sandbox import LocalSandbox

TESTS = """
try:
    found = attempt()
except (OSError, ImportError, ValueError):
    found = None
assert not found, found
"""

CALL = """
import ctypes, mmap, os, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    result = libc.syscall(*(ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args))
    if result < 0: raise OSError(ctypes.get_errno(), "no")
    return f"system call {args[0]} gave {result}"
"""

ATTEMPTS: dict[str, str] = {
    # Files.
    "read the list of users": "return open('/etc/passwd').read()",
    "list the root": "import os; return set(os.listdir('/')) & {{'boot', 'home', 'opt', 'proc', 'sys', 'var'}}",
    "list a directory": "import os; return os.listdir(os.path.dirname({file!r}))",
    "list a home": "import os, sys; return set(os.listdir({home!r})) - set(sys.prefix.split('/'))",
    "read a file that anybody may read": "return open({file!r}).read()",
    "read this repository": "return open({here!r}).read()",
    "read the library": "import cot_distill; return cot_distill.__file__",
    "write a file": "return open({file!r} + '.new', 'w').write('x')",
    "append to a file": "return open({file!r}, 'a').write('x')",
    "empty a file": "import os; return os.truncate({file!r}, 0) is None",
    "remove a file": "import os; return os.remove({file!r}) is None",
    "rename a file": "import os; return os.rename({file!r}, 'mine') is None",
    "link to a file": "import os; os.link({file!r}, 'mine'); return open('mine').read()",
    "link symbolically to a file": "import os; os.symlink({file!r}, 'mine'); return open('mine').read()",
    "change the mode of a file": "import os; os.chmod({file!r}, 0); return os.stat({file!r}).st_mode & 511 == 0",
    "change the time of a file": "import os; os.utime({file!r}, (0, 0)); return os.stat({file!r}).st_mtime == 0",
    "change the mode of its own file": (
        "import os; open('mine', 'w'); os.chmod('mine', 0o6755); return os.stat('mine').st_mode & 0o6111"
    ),
    "make a device": "import os; return os.mknod('mine', 0o20666, 0x101) is None",
    "make a pipe with a name": "import os; return os.mkfifo('mine') is None",
    "write into the standard library": "import os; return open(os.__file__ + 'x', 'w').write('x')",
    "read the memory of the machine": "return open('/dev/mem', 'rb').read(1)",
    "read a disk": "import os; return [open('/dev/' + name, 'rb').read(1) for name in ('vda', 'sda', 'nvme0n1')]",
    "read about the first process": "return open('/proc/1/cmdline').read()",
    "list the processes": "import os; return [name for name in os.listdir('/proc') if name.isdigit()]",
    "climb out of a directory": "return open('../' * 40 + {file!r}).read()",
    "use an open directory": (
        "import os; return set(os.listdir(os.open('..', os.O_RDONLY))) - {{'dev', 'etc', 'lib', 'lib64', 'root', "
        "'sandbox', 'tmp', 'usr'}}"
    ),
    "change the root": "import os; return os.chroot('.') is None",
    # What is in the process.
    "read a secret of the environment": "import os; return 'SANDBOX_SECRET' in os.environ",
    "read the environment of its parents": "return open('/proc/self/environ').read()",
    "find open descriptors": (
        "import os\n    found = []\n    for number in range(5, 1024):\n"
        "        try: found += [(number, os.fstat(number))]\n"
        "        except OSError: pass\n    return [f for f in found if not os.path.isdir(f'/proc/self/fd/{{f[0]}}')]"
    ),
    # Networks.
    "connect to a server": "import socket; return socket.create_connection(('127.0.0.1', {port}), 1)",
    "send a datagram": "import socket; return socket.socket(2, 2).sendto(b'x', ('127.0.0.1', {port}))",
    "listen": "import socket; return socket.create_server(('127.0.0.1', 0))",
    "connect to a socket in the file system": "import socket; return socket.socket(1, 1).connect({socket!r}) is None",
    "connect to a socket without a file": "import socket; return socket.socket(1, 1).connect('\\0{name}') is None",
    "send through a pair to an address": (
        "import socket; return socket.socketpair(1, 2)[0].sendto(b'x', '\\0{name}')"
    ),
    "make a pair of another kind": "import socket; return socket.socketpair(16, 2)",
    "pass a descriptor": (
        "import socket\n    one, other = socket.socketpair()\n    return socket.send_fds(one, [b'x'], [0])"
    ),
    "look up a name": "import socket; return socket.getaddrinfo('example.org', 80)",
    "talk to the kernel": "import socket; return socket.socket(16, 3, 0)",
    # Processes.
    "fork": "import os\n    if os.fork() == 0: os._exit(0)\n    return True",
    "fork through a terminal": "import pty; return pty.fork()",
    "run a command": "import subprocess; return subprocess.run(['true'])",
    "run a command by a shell": "import os; return os.system('true') == 0",
    "spawn": "import os; return os.posix_spawn('/bin/true', ['true'], {{}})",
    "become another program": "import os; os.execv('/proc/self/exe', ['python', '-c', ''])",
    "use a pool of processes": (
        "from concurrent.futures import ProcessPoolExecutor as P\n    return list(P(1).map(abs, [1]))"
    ),
    "kill the server": "import os; return os.kill(os.getppid(), 9) is None",
    "kill everybody": "import os; return os.kill(-1, 9) is None",
    "kill its group": "import os; return os.kill(0, 9) is None",
    "kill its neighbours": (
        "import os\n    done = []\n    for other in range(os.getpid() - 9, os.getpid() + 9):\n"
        "        try: other == os.getpid() or done.append(os.kill(other, 9))\n"
        "        except OSError: pass\n    return done"
    ),
    "have the kernel send a signal": (
        "import fcntl, os, signal\n    here, there = os.pipe()\n"
        "    fcntl.fcntl(here, fcntl.F_SETOWN, os.getppid())\n    fcntl.fcntl(here, 10, signal.SIGKILL)\n"
        "    fcntl.fcntl(here, fcntl.F_SETFL, os.O_ASYNC)\n    os.write(there, b'x')\n    return True"
    ),
    "outlive its parent": "return call({prctl}, 1, 0)",
    "be looked into": "return call({prctl}, 4, 1)",
    "trace the server": "return call({ptrace}, 16, os.getppid(), 0, 0)",
    "be traced": "return call({ptrace}, 0, 0, 0, 0)",
    "read the memory of the server": (
        "return call({readv}, os.getppid(), struct.pack('QQ', 0, 0), 1, struct.pack('QQ', 4096, 8), 1, 0)"
    ),
    "hold on to a process": "return call(434, os.getppid(), 0)",
    "raise its priority": "import os; return os.setpriority(os.PRIO_PROCESS, 0, -5) is None",
    "leave its session": "import os; return os.setsid()",
    "raise its limits": (
        "import resource\n    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, 1 << 40))\n    return True"
    ),
    "limit the server": "import resource, os; return resource.prlimit(os.getppid(), 7, (0, 0))",
    "become root": "import os\n    os.setuid(0)\n    return True",
    # The kernel.
    **{
        f"system call: {name}": f"return call({number}, {args})"
        for name, number, args in (
            ("memfd_create", "{memfd}", "b'x', 0"),
            ("userfaultfd", "{userfaultfd}", "0"),
            ("bpf", "{bpf}", "0, b'', 0"),
            ("perf_event_open", "{perf}", "b'', 0, -1, -1, 0"),
            ("io_uring_setup", "425", "1, bytes(120)"),
            ("unshare", "{unshare}", "0x10000000"),
            ("setns", "{setns}", "0, 0"),
            ("mount", "{mount}", "0, b'/', 0, 0, 0"),
            ("keyctl", "{keyctl}", "0, 0, 0"),
            ("shmget", "{shmget}", "0, 4096, 0o1666"),
            ("personality", "{personality}", "0"),
            ("seccomp", "{seccomp}", "2, 0, 0"),
            ("landlock", "444", "0, 0, 1"),
            ("open_by_handle_at", "{handle}", "0, b'', 0"),
            ("clone of a process", "{clone}", "17, 0, 0, 0, 0"),
            ("clone into namespaces", "{clone}", "0x10010000, 0, 0, 0, 0"),
            ("clone3", "435", "bytes(88), 88"),
            ("vfork", "58", ""),
            ("execveat", "{execveat}", "0, b'', 0, 0, 0x1000"),
            ("mq_open", "{mq}", "b'x', 0o102, 0o600, 0"),
            ("ioctl: type into a terminal", "{ioctl}", "0, 0x5412, b'x'"),
            ("modify_ldt", "154", "0, bytes(16), 16"),
            ("process_madvise", "440", "0, b'', 0, 0, 0"),
        )
    },
}

NUMBERS = {  # of x86_64; there is no way to try others here
    "prctl": 157,
    "ptrace": 101,
    "readv": 310,
    "memfd": 319,
    "userfaultfd": 323,
    "bpf": 321,
    "perf": 298,
    "unshare": 272,
    "setns": 308,
    "mount": 165,
    "keyctl": 250,
    "shmget": 29,
    "personality": 135,
    "seccomp": 317,
    "handle": 304,
    "clone": 56,
    "execveat": 322,
    "mq": 240,
    "ioctl": 16,
}


class Outside(NamedTuple):
    """What there is to reach."""

    file: Path
    server: socket.socket
    datagrams: socket.socket
    sockets: list[socket.socket]
    names: dict[str, object]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    place = Path(os.environ.get("SANDBOX_TEST_PLACE") or tmp_path_factory.mktemp("outside"))
    place.chmod(0o777)
    file = place / "note"
    file.write_text("a secret")
    file.chmod(0o666)
    path, name = str(place / "socket"), f"cot-distill-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        port = server.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        sockets = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for made, address in zip(sockets, (path, f"\0{name}"), strict=True):
            made.bind(address)
            made.listen()
        names = {
            "file": str(file),
            "home": str(Path.home()),
            "here": __file__,
            "port": port,
            "socket": path,
            "name": name,
        }
        yield Outside(file, server, datagrams, sockets, {**names, **NUMBERS})
        for made in sockets:
            made.close()


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_SECRET", "hunter2")


@pytest.mark.parametrize("name", ATTEMPTS)
def test_nothing_gets_out(name: str, strongest: LocalSandbox, outside: Outside) -> None:
    body = ATTEMPTS[name].format(**outside.names)
    outcome = strongest.run_blocking(f"{CALL}\ndef attempt():\n    {body}\n", TESTS, timeout=20)
    assert outcome.status == "passed", outcome


ALL = """
def attempts():
    found = {}
    for name, function in list(globals().items()):
        if name.startswith("attempt_"):
            try: found[name] = function()
            except (OSError, ImportError, ValueError): pass
    return {name: repr(value) for name, value in found.items() if value}
"""


def test_nothing_gets_out_in_any_way_of_keeping_it_in(any_sandbox: LocalSandbox, outside: Outside) -> None:
    bodies = [body.format(**outside.names) for body in ATTEMPTS.values()]
    code = "\n".join(f"def attempt_{number}():\n    {body}" for number, body in enumerate(bodies))
    before = outside.file.stat()
    outcome = any_sandbox.run_blocking(CALL + code + ALL, "assert attempts() == {}", timeout=20)
    assert outcome.status == "passed", outcome
    after = outside.file.stat()
    assert outside.file.read_text() == "a secret"
    assert (after.st_mtime, stat.S_IMODE(after.st_mode)) == (before.st_mtime, stat.S_IMODE(before.st_mode))
    assert sorted(path.name for path in outside.file.parent.iterdir()) == ["note", "socket"]
    for listening in (outside.server, outside.datagrams, *outside.sockets):
        listening.settimeout(0)
        with pytest.raises(BlockingIOError):
            listening.recv(1) if listening is outside.datagrams else listening.accept()


FOREIGN = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex({code!r}))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
def attempt(): return ctypes.CFUNCTYPE(ctypes.c_int)(address)()
"""


@pytest.mark.parametrize(
    "code",
    [
        "b814000000cd80c3",  # mov eax, 20; int 0x80: getpid by the numbers of 32 bits
        "b827000040" + "0f05c3",  # mov eax, 0x40000027; syscall: getpid by the numbers of x32
    ],
)
def test_calls_by_other_numbers_end_the_process(code: str, any_sandbox: LocalSandbox) -> None:
    outcome = any_sandbox.run_blocking(FOREIGN.format(code=code), "assert attempt()", timeout=20)
    assert outcome.status == "exited", outcome
    assert "SIGSYS" in outcome.reason or "SIGSEGV" in outcome.reason  # a kernel may have no 32 bits at all


def test_nothing_is_left_for_the_next_program(any_sandbox: LocalSandbox) -> None:
    leaves = """
import atexit, builtins, json, os, random, sys, threading, time
open("left", "w").write("x")
os.makedirs("deep/er")
os.mkdir("closed", 0)
os.environ["LEFT"] = "x"
builtins.left = sys.left = json.left = 1
def stay():
    while True: time.sleep(0.01); open("left", "w").write("x")
for daemon in (True, False): threading.Thread(target=stay, daemon=daemon).start()
atexit.register(stay)
def done(): return True
"""
    looks = """
import builtins, json, os, sys, threading
def seen():
    held = [os.listdir("."), os.environ.get("LEFT"), hasattr(builtins, "left") or hasattr(json, "left")]
    return [*held, json.dumps(1), threading.active_count(), os.getcwd() == os.environ["TMPDIR"] == os.environ["HOME"]]
"""
    assert any_sandbox.run_blocking(leaves, "assert done()").status == "passed"
    assert any_sandbox.run_blocking(looks, "assert seen() == [[], None, False, '1', 1, True]").status == "passed"


def test_no_program_finds_an_earlier_one_in_its_memory(any_sandbox: LocalSandbox) -> None:
    marks = [f"{part}_{os.urandom(6).hex()}" for part in ("program", "tests", "output", "input")]
    any_sandbox.run_blocking(f"def {marks[0]}(): return print('{marks[2]}')", f"assert {marks[0]}() == '{marks[1]}'")
    any_sandbox.run_blocking(f"print('{marks[2]}')", [(marks[3], marks[1])])
    patterns = ["".join(f"[{letter}]" for letter in mark) for mark in marks]  # so as not to find the search itself
    looks = f"""
import ctypes, gc, re
def seen():
    pools = {{id(item) & ~0x3fff for thing in gc.get_objects() for item in (thing, *gc.get_referents(thing))}}
    heap = [ctypes.string_at(pool, 0x4000) for pool in pools]
    patterns = [re.compile(pattern.encode()) for pattern in {patterns!r}]
    return [number for number, pattern in enumerate(patterns) for memory in heap if pattern.search(memory)]
mine = "".join(map(chr, {list(b"looked_for")!r}))
"""
    assert any_sandbox.run_blocking(looks, "assert seen() == []", timeout=20).status == "passed"
    finds = looks.replace(patterns[0], "[l][o][o][k][e][d][_][f][o][r]")
    assert "[0]" in any_sandbox.run_blocking(finds, "assert seen() == []", timeout=20).reason  # it does find things
