"""Whatever a configuration file holds: a snapshot, or problems with their lines.

Run by ``scripts/fuzz config``, with the same arguments as libFuzzer's other targets.
"""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["cloister", "tomllib"]):
    from tests.support import config_properties

atheris.Setup(sys.argv, config_properties.configuration)
atheris.Fuzz()
