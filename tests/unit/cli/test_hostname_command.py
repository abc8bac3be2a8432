"""``cloister hostname`` as a person or a script calls it."""

import json

import click
import pytest
from click.testing import CliRunner, Result

from cloister.cli.commands.hostname import command
from cloister.model.errors import HostnameError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_prints_one_canonical_name_per_line() -> None:
    result = run("🕸💍.ws", "WWW.Example.ORG.")
    assert result.exception is None
    assert result.stdout == "xn--sr8hvo.ws\nwww.example.org\n"


def test_a_name_that_is_none_is_an_error_with_its_reason() -> None:
    result = run("example.org:443")
    assert isinstance(result.exception, HostnameError)
    assert result.exception.what == '"example.org:443" is no hostname'
    assert result.exception.hint == "give the hostname alone, without scheme, port and path"
    assert result.stdout == ""


def test_the_other_names_are_printed_all_the_same() -> None:
    result = run("a_b", "example.org", "192.0.2.1")
    assert result.stdout == "example.org\n"
    assert isinstance(result.exception, HostnameError)
    assert result.exception.what == "2 of 3 names are no hostnames"
    assert '"a_b" is no hostname: underscores' in str(result.exception.why)
    assert '"192.0.2.1" is no hostname: it is an IP address' in str(result.exception.why)


def test_json_has_one_object_for_each_name() -> None:
    result = run("--json", "Bücher.example", "a b")
    assert json.loads(result.stdout) == [
        {"name": "Bücher.example", "canonical": "xn--bcher-kva.example"},
        {
            "name": "a b",
            "error": '"a b" is no hostname',
            "why": "U+0020 (SPACE) is no letter, digit, hyphen or dot",
            "hint": "remove the white space",
        },
    ]
    assert isinstance(result.exception, HostnameError)


@pytest.mark.parametrize("arguments", [(), ("--unknown", "a")])
def test_wrong_usage_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == click.UsageError.exit_code


def test_hashes_are_printed_in_place_of_the_names() -> None:
    result = run("--hashed", "Example.ORG", "*.Example.ORG")
    assert result.exception is None
    own, below = result.stdout.split()
    assert own == "fL9ygbpqQxvRUdCjyNNUhr1uEVdo_RwD4KDTBLvDeuc"
    assert below != own
    assert isinstance(run("*.example.org").exception, HostnameError)
    rows = json.loads(run("--hashed", "--json", "example.org").stdout)
    assert rows == [{"name": "example.org", "canonical": "example.org", "hashed": own}]
