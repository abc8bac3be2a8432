"""What the services of every door have in common."""

from cloister.generate.door import DRAIN, DoorOptions


def unit_lines(description: str, socket: str) -> list[str]:
    """``[Unit]`` of a service that one socket unit starts."""
    return [
        f"Description={description}",
        f"Requires={socket}",
        "After=network.target",
        # Whoever connects starts the service: a limit here would have systemd give up the
        # socket, and refuse everybody, because of one busy or broken minute.
        "StartLimitIntervalSec=0",
    ]


def process_lines(options: DoorOptions) -> list[str]:
    """How the process starts, ends and comes back."""
    drain = DRAIN if options.drain is None else options.drain
    return [
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=30",
        # The keeper starts the next door, from the program's file as it is then.
        "ExecReload=/usr/bin/kill -USR2 $MAINPID",
        "Restart=on-failure",
        "RestartSec=1",
        # The keeper tells its doors itself.
        "KillMode=mixed",
        f"TimeoutStopSec={drain + 5:g}",
        *score_lines(options),
    ]


def score_lines(options: DoorOptions) -> list[str]:
    """``OOMScoreAdjust=``, where it is wished."""
    score = options.oom_score_adjust
    return [] if score is None else [f"OOMScoreAdjust={score}"]
