"""What runs inside the sandbox: a fork server, and the two processes of a job.

These files are started by a bare interpreter without site-packages, as the package ``inside``. So they use the
standard library only, import one another relatively, and know nothing of the rest of the library.
"""

from __future__ import annotations

__all__: list[str] = []
