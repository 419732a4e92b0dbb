"""The package `sources` as a whole."""

from __future__ import annotations

import subprocess
import sys


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from cot_distill import sources\n"
        "heavy = {'datasets', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert sources.__all__ == sorted(sources.__all__)\n"
        "assert all(hasattr(sources, name) for name in sources.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
