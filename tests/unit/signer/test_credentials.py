"""Keys out of a file, and what is said where there are none."""

import pytest

from cloister.signer.credentials import CredentialsError, parse

FILE = """
# Made by hand.
[default]
aws_access_key_id = AKDEFAULT
aws_secret_access_key = s3cr3t%/+=

[backups]
aws_access_key_id=AKBACKUPS
aws_secret_access_key=other
aws_session_token=token
region = eu-central-1
"""


def test_a_profile() -> None:
    default, backups = parse(FILE, "default"), parse(FILE, "backups")
    assert (default.access_key, default.secret_key, default.session_token) == (
        *("AKDEFAULT", "s3cr3t%/+="),
        None,
    )
    assert (backups.access_key, backups.session_token) == ("AKBACKUPS", "token")


@pytest.mark.parametrize(
    ("text", "profile", "why"),
    [
        ("", "default", "no section"),
        (FILE, "other", "its sections: default, backups"),
        ("s3cr3t", "default", "no file of sections"),
        ("[default]\ns3cr3t\n", "default", "no file of sections"),
        ("[default]\naws_access_key_id = AK\n", "default", "no aws_secret_access_key"),
        ("[default]\naws_secret_access_key = s3cr3t\n", "default", "no aws_access_key_id"),
        ("[default]\na = s3cr3t\na = s3cr3t\n", "default", "DuplicateOption"),
        ("[default]\naws_access_key_id = AK\naws_secret_access_key = s3cr3tä\n", "default", "char"),
    ],
)
def test_what_is_wrong_is_said_without_the_keys(text: str, profile: str, why: str) -> None:
    with pytest.raises(CredentialsError, match=why) as caught:
        parse(text, profile)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None
