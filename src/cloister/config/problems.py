"""The catalogue of configuration problems, and the text of those that values raise."""

from enum import StrEnum

from pydantic_core import PydanticCustomError


class Code(StrEnum):
    """Every code that a :class:`cloister.model.errors.Problem` of a configuration carries.

    Codes are stable: scripts and documents refer to them. Each has an example in
    ``tests/golden/config``.
    """

    # The file as a whole.
    FILE_UNREADABLE = "file-unreadable"
    FILE_TOO_LARGE = "file-too-large"
    NOT_UTF8 = "not-utf8"
    SYNTAX = "syntax"
    # Keys and the types of their values.
    UNKNOWN_KEY = "unknown-key"
    MISSING_KEY = "missing-key"
    WRONG_TYPE = "wrong-type"
    UNKNOWN_VALUE = "unknown-value"
    OUT_OF_RANGE = "out-of-range"
    EMPTY_VALUE = "empty-value"
    UNSUPPORTED = "unsupported"
    # Texts that stand for something.
    BAD_ADDRESS = "bad-address"
    BAD_TARGET = "bad-target"
    BAD_PROXY_PEER = "bad-proxy-peer"
    BAD_PATH = "bad-path"
    BAD_DURATION = "bad-duration"
    BAD_SIZE = "bad-size"
    BAD_PROCESSORS = "bad-processors"
    BAD_MODE = "bad-mode"
    BAD_ID_RANGE = "bad-id-range"
    BAD_USER = "bad-user"
    BAD_NAME = "bad-name"
    BAD_HOST = "bad-host"
    BAD_CALLABLE = "bad-callable"
    BAD_COMMAND = "bad-command"
    BAD_ENVIRONMENT = "bad-environment"
    BAD_ID_MAP = "bad-id-map"
    BAD_URL = "bad-url"
    BAD_OBJECT_KEY = "bad-object-key"
    # Settings that do not go together.
    CONFLICTING_KEYS = "conflicting-keys"
    UNUSED_SETTING = "unused-setting"
    DUPLICATE_HOST = "duplicate-host"
    DUPLICATE_ADDRESS = "duplicate-address"
    DUPLICATE_DESTINATION = "duplicate-destination"
    UNGUARDED_METRICS = "unguarded-metrics"
    NO_LISTENERS = "no-listeners"
    UNKNOWN_APPLICATION = "unknown-application"
    UNKNOWN_STORE = "unknown-store"
    UNREACHABLE_APP = "unreachable-app"
    TOO_FEW_IDS = "too-few-ids"
    BROAD_DIRECTORY = "broad-directory"
    SHARED_DIRECTORY = "shared-directory"
    OVERLAPPING_DIRECTORY = "overlapping-directory"
    PROTECTED_DESTINATION = "protected-destination"
    HOST_ROOT = "host-root"
    # What the settings name, on this machine.
    MISSING_FILE = "missing-file"
    WRONG_FILE_TYPE = "wrong-file-type"
    UNREADABLE_FILE = "unreadable-file"
    EXPOSED_KEY = "exposed-key"


def refusal(
    code: Code, what: str, *, why: str | None = None, hint: str | None = None
) -> PydanticCustomError:
    """What a value's parser raises; ``cloister.config.validation`` adds the place.

    pydantic reads ``{name}`` in its message template as a placeholder, so the sentences
    travel as its context and never as the template.
    """
    return PydanticCustomError(code.value, "{what}", {"what": what, "why": why, "hint": hint})
