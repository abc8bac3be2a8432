"""What the drivers of both programs share."""

import os
import resource
import subprocess
import sys

RAISES = """
import os, resource
from cloister.processes import raise_descriptor_limit
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
assert raise_descriptor_limit() == hard, hard
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
"""


def test_the_soft_limit_of_descriptors_becomes_the_hard_one() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    least = min(64, hard)
    subprocess.run(
        ["/bin/sh", "-c", f'ulimit -Sn {least}; exec "$0" "$@"', sys.executable, "-c", RAISES],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
