"""How long `cloister doctor` takes on a healthy host: ``python -m benches.doctor [APPS
[RUNS]]``.

Makes as many applications' sockets as asked for, as the supervisor would, and has the command
look at all of them, in a process of its own. Prints the medians of the runs, seven unless told:
seconds, and seconds of processor time, which a busy machine does not make longer.
"""

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cloister.config.load import load
from cloister.model.isolation import HostIdentity
from cloister.sockets.bind import bind_planned
from cloister.sockets.plan import plan_app


def measure(count: int, runs: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        config = folder / "cloister.toml"
        apps = (
            f'[apps.app{number}]\ncommand = ["/usr/bin/cat"]\nhosts = ["h{number}.example"]\n'
            for number in range(count)
        )
        places = f'runtime-directory = "{folder}/run"\nstate-directory = "{folder}/state"\n'
        listener = '[listeners.https]\nlisten = "127.0.0.1:8443"\n'
        config.write_text(f"[cloister]\n{places}{listener}{''.join(apps)}")
        snapshot = load(str(config), check_files=False)
        door = HostIdentity(snapshot.ids.first, snapshot.ids.first)
        for app in snapshot.apps:
            plan = plan_app(snapshot.paths, app, door)
            for directory in plan.directories:
                place = Path(directory.path)
                place.mkdir(parents=True, exist_ok=True)
                os.chown(place, -1, -1 if directory.group is None else int(directory.group))
                place.chmod(directory.mode)
            stack.callback(bind_planned(plan).close)
        command = [sys.executable, "-m", "cloister", "doctor", "--json", "--config", str(config)]
        took = [_once(command, count, folder) for _ in range(runs)]
    return statistics.median(one[0] for one in took), statistics.median(one[1] for one in took)


def _once(command: list[str], count: int, folder: Path) -> tuple[float, float]:
    begin, used = time.perf_counter(), _processor()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    took = time.perf_counter() - begin, _processor() - used
    assert done.returncode in {0, 1}, done.stderr
    # An nginx of the machine's own is looked at as well, and may be ill.
    ours = [one for one in json.loads(done.stdout) if str(folder) in one["target"]]
    assert len(ours) == count
    assert not any(one["findings"] for one in ours), ours
    return took


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    seconds, processor = measure(number, times)
    print(f"{number} apps: {seconds:.2f} s, {processor:.2f} s of processor time")
