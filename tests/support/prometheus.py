"""promtool, and Prometheus' text format read back."""

import re
import subprocess

from tests.support import packages

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", re.ASCII)


def promtool(content: str) -> subprocess.CompletedProcess[str]:
    """``promtool check metrics`` of a text."""
    packages.need("prometheus")
    command = ["promtool", "check", "metrics"]
    return subprocess.run(command, input=content, capture_output=True, text=True, check=False)


def samples(content: str) -> dict[str, float]:
    """Every sample by its name and labels, as they are written."""
    found = {}
    for line in content.splitlines():
        if not line.startswith("#"):
            matched = _SAMPLE.fullmatch(line)
            assert matched is not None, line
            name, labels, value = matched.groups()
            found[f"{name}{{{labels}}}" if labels else name] = float(value)
    return found
