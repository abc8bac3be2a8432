"""Checks a configuration in a process of its own, which ends with the answer.

What validates text takes 20 MiB, which a supervisor that lives for months would keep; and a
text that brings the parser to its knees costs that process only. This module loads no parser
in the process that asks.
"""

import asyncio
import contextlib
import pickle
import sys
from asyncio.subprocess import PIPE

from cloister.model.configuration import Configuration
from cloister.model.errors import CloisterError, ConfigError
from cloister.model.snapshot import Snapshot

PATIENCE = 60.0
"""Seconds that a check may take."""


async def check(configuration: Configuration) -> Snapshot:
    """What ``cloister.config.load.check`` gives, with everything that the text names there and
    readable.

    Raises :class:`ConfigError` with every problem, and :class:`CloisterError` where it could
    not be checked. Nothing is left when the caller is cancelled.
    """
    snapshot = await _ask(configuration)
    assert isinstance(snapshot, Snapshot)  # noqa: S101 - _answer() gives nothing else
    return snapshot


async def read(path: str) -> Configuration:
    """The text of a configuration file, unchecked. Raises as :func:`check`."""
    configuration = await _ask(path)
    assert isinstance(configuration, Configuration)  # noqa: S101
    return configuration


async def _ask(question: Configuration | str) -> object:
    # -P: the current folder may belong to somebody whose code must not run here.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "cloister.config.apart", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, errors = await process.communicate(pickle.dumps(question))
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            raise CloisterError(
                f"the configuration could not be checked within {PATIENCE:g} s",
                hint="is it larger than it has to be?",
            ) from error
        raise
    if process.returncode != 0:
        last = errors.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise CloisterError(
            "the configuration could not be checked", why=last[0] if last else "it was killed"
        )
    # Written by _answer() in a process that this one has made, which runs the same code for
    # the same user; a text cannot choose what it writes.
    answer = pickle.loads(output)  # noqa: S301
    if isinstance(answer, tuple):
        raise ConfigError(answer)
    if isinstance(answer, CloisterError):
        raise answer
    return answer


def _answer(question: Configuration | str) -> object:
    from cloister.config import load  # noqa: PLC0415 - in the process apart only

    try:
        return load.read(question) if isinstance(question, str) else load.check(question)
    except ConfigError as error:
        return error.problems
    except CloisterError as error:
        return CloisterError(error.what, why=error.why, hint=error.hint)


if __name__ == "__main__":
    # What the asking process has made itself.
    asked = pickle.loads(sys.stdin.buffer.read())  # noqa: S301
    sys.stdout.buffer.write(pickle.dumps(_answer(asked)))
