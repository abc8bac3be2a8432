"""Broken setups are made by root."""

from collections.abc import Iterator

import pytest
from tests.support.broken import Corner


@pytest.fixture
def corner(as_root: None) -> Iterator[Corner]:
    with Corner() as corner:
        yield corner
