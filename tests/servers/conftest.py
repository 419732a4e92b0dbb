"""Servers that nobody here wrote, each with the model of tiny_teacher.py. setup_servers.py installs them."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
_LOUD = "NOT TESTED"
_WAY_OUT = "python tests/servers/setup_servers.py"
_UP = 120.0  # seconds that a server may take to start on a busy machine


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, which would otherwise be letters among others."""
    skipped = (str(report.longrepr) for report in terminalreporter.stats.get("skipped", ()))
    reasons = {text[text.index(_LOUD) :].rstrip("')") for text in skipped if _LOUD in text}
    for reason in sorted(reasons):
        terminalreporter.write_line(reason, yellow=True)


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """What the model knows."""
    return _script("tiny_teacher")


@pytest.fixture(scope="session")
def place() -> Path:
    """Where the servers are."""
    found: Path = _script("setup_servers").folder()
    return found


@pytest.fixture(scope="session")
def transformers_serve(place: Path) -> Iterator[str]:
    """The address of `transformers serve`."""
    python = _there(place / "python" / "bin" / "python", "transformers serve")
    model = _there(place / "tiny", "transformers serve")
    command = [
        python,
        "-m",
        "transformers.cli.transformers",
        "serve",
        model,
        "--host",
        "127.0.0.1",
        "--device",
        "cpu",
    ]
    with _served([str(part) for part in command], ready="Uvicorn running on") as url:
        yield url


@pytest.fixture(scope="session")
def llama_server(place: Path) -> Iterator[str]:
    """The address of `llama-server`."""
    binary = _there(place / "llama-server", "llama-server")
    model = _there(place / "tiny.gguf", "llama-server")
    options = ["-m", model, "-c", "2048", "-t", "1", "--host", "127.0.0.1", "--temp", "0"]
    # Only in a template that knows of thinking does it look for reasoning.
    options += [
        "--jinja",
        "--chat-template-file",
        place / "tiny" / "template.jinja",
        "--reasoning-format",
        "deepseek",
    ]
    with _served([str(part) for part in (binary, *options)], ready="listening on http") as url:
        yield url


def _there(path: Path, server: str) -> Path:
    if not path.exists():
        reason = f"{_LOUD} with {server}, since there is no {path}. To install it: {_WAY_OUT}"
        pytest.skip(reason)
    return path


@contextmanager
def _served(command: list[str], *, ready: str) -> Iterator[str]:
    """Run a server on a free port until it says that it is ready, and end it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    said: list[str] = []
    up = threading.Event()
    process = subprocess.Popen(
        [*command, "--port", str(port)], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None

    def listen() -> None:
        for line in process.stdout or ():
            said.append(line)
            if ready in line:
                up.set()
        up.set()  # it has ended

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        up.wait(_UP)
        if process.poll() is not None or not any(ready in line for line in said):
            pytest.fail(f"{command[0]} did not start:\n{''.join(said[-30:])}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            warnings.warn(f"{command[0]} had to be killed", stacklevel=1)
        listener.join()
        process.stdout.close()
