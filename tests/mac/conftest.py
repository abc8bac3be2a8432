"""The compiled policy, once for all tests that ask it."""

import os

import pytest
from tests.mac.policy import Policy


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """The system's policy with the module in it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the policy store is root's")
    return Policy(tmp_path_factory.mktemp("policy"))
