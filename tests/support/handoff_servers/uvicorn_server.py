"""uvicorn on a handoff socket: PATH CERTIFICATE KEY AUTHORITY."""

import sys
from pathlib import Path

import uvicorn

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.support.handoff_servers.application import application

from cloister.handoff import HandoffListener

path, certificate, key, _ = sys.argv[1:]
config = uvicorn.Config(
    application, loop="asyncio", ssl_certfile=certificate, ssl_keyfile=key, log_level="warning"
)
uvicorn.Server(config).run(sockets=[HandoffListener(path, mode=0o666)])
