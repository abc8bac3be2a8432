"""What a supervisor could say of itself."""

import dataclasses

from cloister.apps.status import (
    AppStatus,
    DaemonStatus,
    DoorStatus,
    EgressStatus,
    ListenerStatus,
    ProtectionStatus,
    ResourceStatus,
    Traffic,
)
from cloister.cells.cgroups.app_group import LimitStatus
from cloister.cells.cgroups.counters import Counters, Usage
from cloister.door.messages import Histogram

BLOG = AppStatus(
    name="blog",
    program="python blog:app",
    state="ready",
    since=1_700_000_100.5,
    pid=77,
    restarts=1,
    host_uid=500001,
    hosts=("blog.example", "*.blog.example"),
    socket="/run/cloister/apps/blog/socket",
    message="warm",
    failure=None,
    traffic=Traffic(9, 1, 1000, 2000),
    resources=ResourceStatus(
        (LimitStatus("memory", "256M", in_force=True, detail="", default=False),),
        Usage(12.5, 4096, 8192, 10, 20, 3),
        Counters(1, 2, 3, 4, 5, 0.5),
    ),
    egress=(
        EgressStatus("db.internal:5432", "tcp:db:5432", 7, 2, 1, 30, 40, {"target-timeout": 1}),
        EgressStatus("/run/db.sock", "unix:/run/db", 0, 0, 0, 0, 0, {}),
    ),
)
SHOP = dataclasses.replace(
    BLOG, name="shop", state="backoff", pid=None, traffic=None, resources=None, egress=()
)
DOOR = DoorStatus(
    state="ready",
    since=1_700_000_000.0,
    pid=8,
    restarts=0,
    host_uid=500000,
    generation=1,
    replacements=1,
    draining=0,
    protections=(ProtectionStatus("seccomp", True, "80 calls"),),
    workers=2,
    accepted=10,
    active=1,
    log_lines_lost=0,
    accept_pauses=0,
    outcomes={"complete": 9, "refused-name": 1},
    failure=None,
    bytes_to_target=2**60 + 1,
    bytes_to_client=2000,
    hello=Histogram((100, 250, 1_000_000), (5, 3, 0, 2), 3_500_000),
    connect=Histogram((100,), (8, 0), 0),
    answer=Histogram((100, 500), (0, 7, 1), 2_000),
)
STATUS = DaemonStatus(
    version="1.2.3",
    pid=7,
    since=1_700_000_000.0,
    config="/etc/cloister/cloister.toml",
    runtime_directory="/run/cloister",
    authority=None,
    rootless=False,
    listeners=(
        ListenerStatus(
            "https", "0.0.0.0:443", "by server name", 10, 1, {"complete": 9}, None, False, 50, 60
        ),
        ListenerStatus('odd"name\\', "unix:/run/a\nb", "to unix:/run/x", None, None, {}),
    ),
    apps=(BLOG, SHOP),
    door=DOOR,
)
