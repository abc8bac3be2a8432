"""hypercorn on a handoff socket: PATH CERTIFICATE KEY AUTHORITY."""

import asyncio
import signal
import sys
from pathlib import Path

from hypercorn.asyncio import serve
from hypercorn.config import Config, Sockets

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.support.handoff_servers.application import application

from cloister.handoff import HandoffListener

path, certificate, key, _ = sys.argv[1:]


class HandoffConfig(Config):
    """Takes its connections from the door."""

    def create_sockets(self) -> Sockets:
        return Sockets([HandoffListener(path, mode=0o666)], [], [])


async def main() -> None:
    config = HandoffConfig()
    config.certfile, config.keyfile = certificate, key
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(application, config, shutdown_trigger=stop.wait)


asyncio.run(main())
