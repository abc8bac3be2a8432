"""``[apps.NAME.limits]``: bounds on disks, and what does not go with them."""

import pytest
from tests.unit.config.test_load import LISTENER, resolved

from cloister.model.errors import ConfigError, Problem

APP = LISTENER + '[apps.a]\ncommand = ["/bin/a"]\nhosts = ["a"]\n'
BIND = '[[apps.{}.binds]]\nsource = "{}"\ndestination = "/data"\nwritable = true\n'


def refused(text: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        resolved(text)
    (problem,) = caught.value.problems
    return problem


def test_a_size_and_a_number_of_files() -> None:
    limits = resolved(f'{APP}limits = {{ disk = "2G", disk-files = 500 }}\n').apps[0].limits
    assert (limits.disk, limits.disk_files) == (2 << 30, 500)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ("isolation.namespaces.mount = false", "mount namespace"),
        ('isolation.namespaces.user = false\nfences.profile = "none"', "no filter"),
        (
            'isolation.namespaces.user = false\nfences.allow = ["file_setattr"]',
            "allow file_setattr",
        ),
    ],
)
def test_what_an_application_could_get_around_is_refused(settings: str, word: str) -> None:
    problem = refused(f'{APP}limits.disk = "2G"\n{settings}\n')
    assert problem.what == "`disk` would not keep a from having more"
    assert word in (problem.why or "")


def test_a_filter_will_do_where_the_user_namespace_is_the_hosts() -> None:
    assert resolved(f'{APP}limits.disk = "2G"\nisolation.namespaces.user = false\n')


@pytest.mark.parametrize("other", ["/srv/data/x", "/srv/data/x/inner", "/srv/data"])
def test_a_folder_of_two_with_limits_is_refused(other: str) -> None:
    both = (
        f'{APP}limits.disk = "2G"\n[apps.b]\ncommand = ["/bin/b"]\nhosts = ["b"]\n'
        f"{{}}{BIND.format('a', '/srv/data/x')}{BIND.format('b', other)}"
    )
    problem = refused(both.format("limits.disk-files = 7\n"))
    assert "a and b can both write to" in problem.what or "b and a" in problem.what
    assert problem.why == "a file counts for one application only"
    # With one limit it counts for that one.
    resolved(both.format(""))
