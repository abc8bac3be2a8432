"""Real programs work and serve in the default cell, all fences up."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cell_spec import PYTHON, Outcome
from tests.support.default_cell import DEFAULT, run_default
from tests.support.packages import need

from cloister.model.fences import Fences, FilterProfile
from cloister.model.isolation import Bind

STRICT = Fences(profile=FilterProfile.STRICT)
ASK = "ask"
"""A function of the scripts: asks with curl, again and again until somebody answers."""
PRELUDE = """
set -e
ask() {
  for _ in $(seq 150); do
    curl --silent --fail --max-time 10 "$@" && return
    read -rt 0.1 <> <(:) || true
  done
  return 1
}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on the host that every user may enter."""
    made = Path(tempfile.mkdtemp(prefix="cloister-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def shell(text: str, *, fences: Fences = DEFAULT, folder: Path | None = None) -> Outcome:
    """Runs a script in the default cell; the folder is seen as /srv/program."""
    binds = [] if folder is None else [Bind(str(folder), "/srv/program")]
    outcome = run_default("/bin/bash", "-c", PRELUDE + text, fences=fences, binds=binds)
    assert outcome.failure is None, outcome.failure
    return outcome


def works(text: str, folder: Path | None = None) -> str:
    outcome = shell(text, folder=folder)
    assert outcome.status == 0, outcome
    return outcome.output


NGINX = """
daemon off;
worker_processes 2;
pid /tmp/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    sendfile on;
    aio threads;
    server {
        listen 127.0.0.1:8080;
        location / { root /srv/program; }
        location /php {
            fastcgi_pass unix:/tmp/php.sock;
            fastcgi_param SCRIPT_FILENAME /srv/program/index.php;
            fastcgi_param REQUEST_METHOD $request_method;
        }
    }
}
"""
FPM = """
[global]
daemonize = no
error_log = /tmp/fpm.log
[www]
listen = /tmp/php.sock
pm = dynamic
pm.max_children = 3
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 2
"""


def test_nginx_and_php_fpm(folder: Path) -> None:
    need("nginx", "php-fpm", "curl")
    (folder / "nginx.conf").write_text(NGINX)
    (folder / "fpm.conf").write_text(FPM)
    (folder / "page").write_text("static")
    (folder / "index.php").write_text(
        "<?php $x = 0; for ($i = 0; $i < 200000; $i++) $x += $i; echo 'dynamic ', $x; ?>"
    )
    fpm = next(Path("/usr/sbin").glob("php-fpm*"))
    output = works(
        f"{fpm} --fpm-config /srv/program/fpm.conf &\n"
        "nginx -c /srv/program/nginx.conf &\n"
        f"{ASK} http://127.0.0.1:8080/page; echo\n{ASK} http://127.0.0.1:8080/php; echo\n"
        "kill %2 %1; wait",
        folder,
    )
    assert output.split("\n")[:2] == ["static", "dynamic 19999900000"]


def test_php_by_itself(folder: Path) -> None:
    need("php-cli", "curl")
    (folder / "index.php").write_text("<?php echo 'php ', PHP_MAJOR_VERSION > 6; ?>")
    output = works(
        "php -d opcache.enable_cli=1 -d opcache.jit_buffer_size=8M -d opcache.jit=tracing "
        f"-S 127.0.0.1:8081 -t /srv/program 2>/dev/null &\n{ASK} http://127.0.0.1:8081/\nkill %1",
        folder,
    )
    assert output == "php 1"


NODE = """
const http = require("http"), fs = require("fs"), crypto = require("crypto");
const { Worker } = require("worker_threads");
http.createServer((request, response) => {
  fs.readFile("/etc/hostname", "utf8", (error, text) => {
    const worker = new Worker('require("worker_threads").parentPort.postMessage(6 * 7)',
                              { eval: true });
    worker.on("message", (number) => {
      crypto.scrypt("a", "b", 16, () => response.end(`node ${text.trim()} ${number}`));
    });
  });
}).listen(8082, "127.0.0.1");
"""


def test_node(folder: Path) -> None:
    need("nodejs", "curl")
    (folder / "server.js").write_text(NODE)
    text = f"node /srv/program/server.js &\n{ASK} http://127.0.0.1:8082/\nkill %1"
    assert works(text, folder) == "node fenced 42"
    # It makes code in memory: under the strict profile it must not get there.
    assert shell("node -e 1 2>/dev/null", fences=STRICT).status != 0


GO = """
package main
import ("fmt"; "net/http"; "os"; "sync")
func main() {
  http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
    var group sync.WaitGroup; total := make(chan int, 50)
    for i := 0; i < 50; i++ { group.Add(1); go func(i int) { defer group.Done(); total <- i }(i) }
    group.Wait(); close(total); sum := 0; for n := range total { sum += n }
    name, _ := os.Hostname(); fmt.Fprintf(w, "go %s %d", name, sum)
  })
  panic(http.ListenAndServe("127.0.0.1:8083", nil))
}
"""


def test_go(folder: Path) -> None:
    need("golang-go")
    (folder / "main.go").write_text(GO)
    subprocess.run(
        ["go", "build", "-o", "server", "main.go"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "GOFLAGS": "-mod=mod -buildvcs=false"},
        check=True,
        timeout=110,
    )
    (folder / "server").chmod(0o755)
    text = f"/srv/program/server &\n{ASK} http://127.0.0.1:8083/\nkill %1"
    assert works(text, folder) == "go fenced 1225"


PYTHON_PROGRAM = """
import asyncio, ctypes, hashlib, json, multiprocessing, os, select, socket, sqlite3, ssl
import subprocess, tempfile, threading, time, zoneinfo
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
def square(n): return n * n
if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool: assert list(pool.map(square, range(5)))[4] == 16
    with ThreadPoolExecutor(8) as pool: assert sum(pool.map(square, range(5))) == 30
    lock, queue = multiprocessing.Lock(), multiprocessing.Queue()
    queue.put(1); assert queue.get(timeout=10) == 1
    base = sqlite3.connect("/tmp/base"); base.execute("create table x (y)"); base.commit()
    async def main():
        async def answer(reader, writer):
            writer.write(await reader.readline()); await writer.drain(); writer.close()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\\n"); assert await reader.readline() == b"hello\\n"
        process = await asyncio.create_subprocess_exec("echo", "x", stdout=subprocess.PIPE)
        assert (await process.communicate())[0] == b"x\\n"
    asyncio.run(main())
    assert socket.getaddrinfo("localhost", 80)
    with tempfile.TemporaryDirectory() as folder: os.listdir(folder)
    callback = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)
    assert callback() == 7
    hashlib.scrypt(b"a", salt=b"b", n=2, r=8, p=1)
    print("python", os.uname().nodename, os.cpu_count() > 0)
"""


def test_python(folder: Path) -> None:
    (folder / "program.py").write_text(PYTHON_PROGRAM)
    assert works(f"{PYTHON} /srv/program/program.py", folder) == "python fenced True\n"


def test_openssl_and_curl(folder: Path) -> None:
    need("openssl", "curl")
    output = works(
        "cd /tmp\n"
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out c "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null\n"
        "echo served >page\n"
        "openssl s_server -accept 127.0.0.1:8443 -cert c -key k -WWW -quiet &\n"
        f"{ASK} --cacert c --resolve localhost:8443:127.0.0.1 https://localhost:8443/page\nkill %1"
    )
    assert "served" in output


def test_bash() -> None:
    assert works(
        'read line < <(echo one | sed s/one/two/)\nexec 5<>/tmp/file\necho "$line" >&5\n'
        "trap 'echo trapped' USR1; kill -USR1 $$\n(ulimit -n; ulimit -u) >/dev/null\n"
        "sleep 0.1 & wait; cat /tmp/file; find /etc -maxdepth 1 >/dev/null; id -u; tar --version "
        ">/dev/null; git --version >/dev/null 2>&1 || true"
    ).split() == ["trapped", "two", "1000"]


STATIC = """
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static void *run(void *x) { return x; }
int main(void) {
  pthread_t thread; void *back;
  pthread_create(&thread, 0, run, &thread); pthread_join(thread, &back);
  int status, pid = fork(); if (!pid) _exit(3);
  waitpid(pid, &status, 0);
  printf("static %d %d\\n", back == &thread, WEXITSTATUS(status));
}
"""


@pytest.mark.parametrize("fences", [DEFAULT, STRICT], ids=["default", "strict"])
def test_static_c(folder: Path, fences: Fences) -> None:
    (folder / "main.c").write_text(STATIC)
    command = ["gcc", "-static", "-pthread", "-o", "program", "main.c"]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    (folder / "program").chmod(0o755)
    assert shell("/srv/program/program", fences=fences, folder=folder).output == "static 1 3\n"
