"""Sets up the real servers that the tests of this folder ask: `transformers serve` and `llama-server`.

    python tests/servers/setup_servers.py [--borrow PYTHON] [--without-llama]

Everything goes into one folder: $COT_DISTILL_TEST_SERVERS, or ~/.cache/cot_distill/test-servers. What is there is
kept, so it can be run again at any time. The first time takes some minutes and 1.5 GB, most of it torch; from then on
a server is up in seconds. Needs a C++ compiler, cmake and make for `llama-server`.

    python/        an environment with transformers[serving]
    llama-server   built from the sources that the package llama-cpp-python brings along
    tiny/          the model (tiny_teacher.py trains it)
    tiny.gguf      the same model for llama.cpp
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

TORCH = "torch==2.13.0"
TRANSFORMERS = "transformers[serving]==5.23.0"
LLAMA = "llama-cpp-python==0.3.36"
GGUF = "gguf==0.19.0"
HERE = Path(__file__).parent

# Compiled without optimisation: it takes a third of the time, and the model is tiny.
CMAKE = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_CXX_FLAGS_RELEASE=-O0",
    "-DCMAKE_C_FLAGS_RELEASE=-O1",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_NATIVE=OFF",
    "-DGGML_OPENMP=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_WEBUI=OFF",
    "-DLLAMA_BUILD_UI=OFF",
)


def folder() -> Path:
    """Where the servers are."""
    chosen = os.environ.get("COT_DISTILL_TEST_SERVERS")
    return Path(chosen) if chosen else Path.home() / ".cache" / "cot_distill" / "test-servers"


def run(*command: str | Path, **options: str | Path) -> None:
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, **options)  # type: ignore[call-overload]


def make_python(place: Path, borrow: Path | None) -> Path:
    """The environment of `transformers serve`. The packages of an interpreter that has torch can be borrowed."""
    python = place / "python" / "bin" / "python"
    done = place / "python" / "done"
    if done.exists():
        return python
    venv.create(place / "python", with_pip=True, clear=True)
    pip = (python, "-m", "pip", "install", "--quiet")
    if borrow is None:
        run(*pip, TORCH)
    else:
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        theirs = subprocess.run([borrow, "-c", ask], check=True, capture_output=True, text=True).stdout
        ours = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
        Path(ours, "borrowed.pth").write_text(theirs, encoding="utf-8")
    run(*pip, TRANSFORMERS, GGUF)
    done.touch()
    return python


def make_llama(place: Path) -> None:
    """Build `llama-server`."""
    if (place / "llama-server").exists():
        return
    with tempfile.TemporaryDirectory() as scratch:
        # Only pip knows where packages come from here. Nothing of it is installed.
        download = (
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            "llama-cpp-python",
        )
        run(*download, "--dest", scratch, LLAMA)
        (archive,) = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as sources:
            sources.extractall(scratch, filter="data")
        (source,) = Path(scratch).glob("*/vendor/llama.cpp")
        build = Path(scratch, "build")
        run("cmake", "-S", source, "-B", build, *CMAKE)
        run("cmake", "--build", build, "--target", "llama-server", "--parallel", str(os.cpu_count() or 1))
        shutil.copy2(build / "bin" / "llama-server", place / "llama-server.part")
        (place / "llama-server.part").rename(place / "llama-server")


def make_model(place: Path, python: Path) -> None:
    """Train the model, unless it was trained by the same script."""
    script = HERE / "tiny_teacher.py"
    done = place / "tiny" / "made_by.py"
    if done.exists() and done.read_bytes() == script.read_bytes():
        return
    run(python, script, place / "tiny", place / "tiny.gguf")
    shutil.copyfile(script, done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--borrow", type=Path, help="an interpreter that has torch and transformers already")
    parser.add_argument("--without-llama", action="store_true", help="do not build llama-server")
    wishes = parser.parse_args()
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    make_model(place, make_python(place, wishes.borrow))
    if not wishes.without_llama:
        make_llama(place)
    print(f"ready in {place}: pytest tests/servers")


if __name__ == "__main__":
    main()
