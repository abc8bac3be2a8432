"""What of TOML is never given to ``tomllib``, and what only looks like it."""

import pytest

from cloister.config.toml_text import DEEPEST, LONGEST_NUMBER, BoundError, parse

DEEP = ".".join(["a"] * (DEEPEST + 1))
QUOTED = ' . "b.\\"c"' * DEEPEST
LONG = "1" * (LONGEST_NUMBER + 1)


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        (f"{DEEP} = 1", "a key has", 1),
        (f"\n[{DEEP}]", "a key has", 2),
        (f"\n\n[[ {DEEP} ]]", "a key has", 3),
        (f"x = {{ y = 1, {DEEP} = 1 }}", "a key has", 1),
        (f"'a'{QUOTED} = 1", "a key has", 1),
        (f'x = """a"""""\n{DEEP} = 1', "a key has", 2),
        (f"x = '''a'''''\n{DEEP} = 1", "a key has", 2),
        (f"x = {LONG}", "a number has", 1),
        (f"x = [1,\n-{LONG}]", "a number has", 2),
        (f"x = 0x{LONG}", "a number has", 1),
    ],
)
def test_more_than_any_configuration_has(text: str, what: str, line: int) -> None:
    with pytest.raises(BoundError, match=what) as caught:
        parse(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        f'x = "{DEEP}"',
        f"x = '{DEEP}'",
        f'x = """\n"{DEEP}""{DEEP}"""',
        f"x = '''\n'{DEEP}''{DEEP}''''",
        f'x = """\\"""{DEEP}"""',
        f'x = "\\\\" # {DEEP}',
        f"x = '{LONG}' # {LONG}",
        f"{DEEP[2:]} = 1",
        f"x = {LONG[1:]}",
        "\n".join(f"x.y{number} = 1.5" for number in range(2 * DEEPEST)),
    ],
)
def test_what_is_none_of_it(text: str) -> None:
    assert parse(text)
