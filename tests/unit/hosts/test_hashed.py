"""Hostnames as hashes, which the Rust side's tests know too."""

import json
from pathlib import Path

from cloister.hosts.hashed import LENGTH, hashed_name

VECTORS: dict[str, str] = json.loads(
    (Path(__file__).parents[2] / "contract" / "hashed-names.json").read_text(encoding="utf-8")
)


def test_hashes_are_those_of_the_door() -> None:
    assert len(VECTORS) > 5
    for name, hashed in VECTORS.items():
        assert hashed_name(name) == hashed
        assert len(hashed) == LENGTH
