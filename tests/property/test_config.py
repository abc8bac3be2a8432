"""Whatever a configuration file holds: a snapshot, or problems with their lines."""

import random
from pathlib import Path

import pytest
from tests.support.config_properties import configuration

ROOT = Path(__file__).parents[2]
KNOWN = sorted(
    [
        *(ROOT / "tests/golden/config").glob("*.toml"),
        *(ROOT / "tests/golden/config").glob("*.json"),
        *(ROOT / "tests/golden/unit").glob("*.json"),
        *(ROOT / "fuzz/corpus/config").iterdir(),
    ]
)


@pytest.mark.parametrize("path", KNOWN, ids=lambda path: path.name)
def test_known_files_and_their_mutations_hold(path: Path) -> None:
    content = path.read_bytes()
    configuration(content)
    chance = random.Random(content)
    for _ in range(30):
        configuration(mutated(content, chance))


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with a piece taken out, doubled, moved or replaced."""
    pieces = content.splitlines(keepends=True) if chance.random() < 0.7 else list(_bytes(content))
    for _ in range(chance.randint(1, 3)):
        if not pieces:
            break
        at = chance.randrange(len(pieces))
        match chance.randrange(4):
            case 0:
                del pieces[at]
            case 1:
                pieces.insert(chance.randrange(len(pieces)), pieces[at])
            case 2:
                pieces[at] = chance.choice([b"\x00", b"\xff", b'"', b"[", b"]", b"=", b"9" * 30])
            case _:
                other = chance.randrange(len(pieces))
                pieces[at], pieces[other] = pieces[other], pieces[at]
    return b"".join(pieces)


def _bytes(content: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in content]
