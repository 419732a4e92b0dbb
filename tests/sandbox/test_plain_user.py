"""What holds for root holds for a user without any rights: the other tests once more, as such a user."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FILES = ["test_escapes.py", "test_fakes.py", "test_honest.py"]


def interpreter(uid: int, environment: dict[str, str]) -> str | None:
    """A Python that such a user can run, and that finds what the tests need."""
    minor = f"python3.{sys.version_info.minor}"
    for path in (sys.executable, *(f"{place}/{minor}" for place in ("/usr/bin", "/usr/local/bin"))):
        command = [path, "-c", "import anyio, pydantic, pytest, xdist, pytest_timeout, cot_distill"]
        try:
            done = subprocess.run(
                command,
                user=uid,
                group=uid,
                extra_groups=[],
                env=environment,
                cwd="/",
                check=False,
                capture_output=True,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return path
    return None


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become somebody else")
def test_all_of_it_as_a_plain_user(tmp_path: Path) -> None:
    uid = 200_000 + secrets.randbelow(1 << 28)
    site = next(path for path in sys.path if path.endswith("site-packages"))
    place = Path("/tmp", f"plain-user-{uid}")
    place.mkdir()
    os.chown(place, uid, uid)
    environment = {
        "PYTHONPATH": f"{ROOT}:{site}",
        "PATH": os.environ["PATH"],
        "TMPDIR": str(place),
        "HOME": str(place),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    python = interpreter(uid, environment)
    if python is None:
        pytest.skip("there is no interpreter that other users can run with these packages")
    command = [python, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-x"]
    try:
        done = subprocess.run(
            [*command, *(str(HERE / name) for name in FILES)],
            user=uid,
            group=uid,
            extra_groups=[],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    finally:
        subprocess.run(["rm", "-rf", str(place)], check=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.findall(r"(\d+) passed", done.stdout)
    assert "skipped" in done.stdout or int(passed[-1]) > 250
