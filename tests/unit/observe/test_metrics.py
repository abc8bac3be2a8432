"""The supervisor's own metrics, as text and before promtool."""

import dataclasses
import re
from pathlib import Path

from tests.conftest import Golden
from tests.support.prometheus import promtool
from tests.support.status import DOOR, STATUS

from cloister.observe.metrics import text

GOLDEN = Path(__file__).parents[2] / "golden" / "observe" / "metrics.txt"

ANSWERED = {
    ("app", "blog", "signed"): 3,
    ("app", "blog", "rate"): 0,
    ("user", "alice", "issued"): 1,
}
"""By the signer."""


def test_what_is_written(golden: Golden) -> None:
    golden.check(GOLDEN, text(STATUS, ANSWERED))


def test_promtool_finds_nothing() -> None:
    done = promtool(text(STATUS, ANSWERED))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_promtool_would_find_something() -> None:
    assert promtool(text(STATUS, ANSWERED).replace("_total", "_totals")).returncode != 0
    assert (
        promtool(text(STATUS, ANSWERED).replace("seconds gauge", "seconds counter")).returncode != 0
    )


def test_without_a_door_its_counters_are_left_out_and_its_state_is_not() -> None:
    unknown = dict.fromkeys(
        (
            *("workers", "accepted", "active", "log_lines_lost", "accept_pauses"),
            *("bytes_to_target", "bytes_to_client", "hello", "connect", "answer"),
        )
    )
    door = dataclasses.replace(DOOR, state="backoff", pid=None, outcomes={}, **unknown)  # type: ignore[arg-type]
    lines = text(dataclasses.replace(STATUS, door=door))
    assert 'cloister_door_state{state="backoff"} 1\n' in lines
    assert "cloister_door_ready 0\n" in lines
    assert "cloister_door_connections" not in lines
    assert "cloister_door_hello" not in lines


def test_labels_have_no_more_values_than_the_configuration_has_names() -> None:
    """A client cannot make series: nothing that it sends becomes a label."""
    names = set(re.findall(r"[{,](\w+)=", text(STATUS, ANSWERED)))
    assert names == {
        *("version", "state", "protection", "outcome", "direction", "le"),
        *("listener", "address", "app", "way", "user"),
    }
