"""Signatures as Amazon has published them, and what they hold an upload to."""

import hashlib
import subprocess
import sys
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.sigv4 import is_signed_by

from cloister.model.object_key import parse_key
from cloister.signer.s3 import Bucket, Credentials, sign_get, sign_put

KEYS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
"""Those of the examples in "Authenticating Requests (AWS Signature Version 4)"."""
MAY = datetime(2013, 5, 24, tzinfo=UTC).timestamp()
EXAMPLE = Bucket("https://s3.amazonaws.com", "us-east-1", "examplebucket", path_style=False)
OWN = Bucket("https://s3.example:9000", "any", "backups", path_style=True)


def test_amazons_published_example() -> None:
    """The example of "Authenticating Requests: Using Query Parameters"."""
    signed = sign_get(EXAMPLE, KEYS, parse_key("test.txt"), valid=86400, now=MAY)
    assert signed.url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    assert (signed.method, signed.headers, signed.expires) == ("GET", {}, MAY + 86400)


BODY = b"a backup"


def put(
    key: str = "blog/x.tar.gz", bucket: Bucket = OWN, keys: Credentials = KEYS
) -> tuple[str, dict[str, str]]:
    digest = hashlib.sha256(BODY).digest()
    signed = sign_put(
        bucket, keys, parse_key(key), size=len(BODY), sha256=digest, valid=300, now=MAY
    )
    assert signed.method == "PUT"
    return signed.url, dict(signed.headers)


def test_an_upload_is_bound_to_its_bytes_and_to_an_empty_place() -> None:
    url, headers = put()
    assert headers == {
        "content-length": "8",
        "if-none-match": "*",
        "x-amz-checksum-sha256": "qWjVxQqSLSe7CzvWriqEQnfsr2gdHKCB/VMGYDzbURE=",
    }
    query = parse_qs(urlsplit(url).query)
    assert query["X-Amz-SignedHeaders"] == [
        "content-length;host;if-none-match;x-amz-checksum-sha256"
    ]
    assert query["X-Amz-Expires"] == ["300"]


@pytest.mark.parametrize("key", ["x", "blog/2026-11-29/x.tar.gz", "ä b/c~d=&'(1)+%41.gz", "a?b#c"])
@pytest.mark.parametrize("bucket", [OWN, EXAMPLE], ids=["path", "host"])
def test_another_implementation_agrees(key: str, bucket: Bucket) -> None:
    url, headers = put(key, bucket)
    assert is_signed_by(KEYS.secret_key, "PUT", url, headers)
    for name in headers:
        assert not is_signed_by(KEYS.secret_key, "PUT", url, headers | {name: "9"})
    assert not is_signed_by(KEYS.secret_key, "DELETE", url, headers)
    assert not is_signed_by(
        KEYS.secret_key, "PUT", url.replace("Expires=300", "Expires=999"), headers
    )
    assert not is_signed_by("another", "PUT", url, headers)


def test_a_session_is_in_the_url() -> None:
    url, headers = put(keys=Credentials("AK", "SK", "token/+="))
    assert parse_qs(urlsplit(url).query)["X-Amz-Security-Token"] == ["token/+="]
    assert is_signed_by("SK", "PUT", url, headers)


def test_keys_do_not_show() -> None:
    assert "EXAMPLEKEY" not in repr(KEYS)
    assert "EXAMPLEKEY" not in repr(Credentials("AK", "EXAMPLEKEY", "EXAMPLEKEY"))


def test_signing_needs_no_more_of_botocore_than_its_signer() -> None:
    code = (
        "import sys\nfrom cloister.signer import s3\nassert 'botocore' not in sys.modules\n"
        "from cloister.model.object_key import parse_key\n"
        "s3.sign_get(s3.Bucket('https://h', 'r', 'b', True), s3.Credentials('a', 'b'), "
        "parse_key('k'), valid=1, now=0)\n"
        "assert 'botocore.session' not in sys.modules and 'botocore.client' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
