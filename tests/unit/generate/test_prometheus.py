"""The job for Prometheus and the dashboard: goldens, promtool, and what is refused."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.conftest import Golden
from tests.support import packages
from tests.support.generated import check_goldens
from tests.support.status import STATUS

from cloister.generate.file import Generated
from cloister.generate.grafana import GrafanaRequest, panels
from cloister.generate.grafana import generate as dashboard
from cloister.generate.prometheus import PrometheusRequest, generate
from cloister.model.errors import UsageError
from cloister.observe.metrics import families

CASES = {
    "prometheus": generate(PrometheusRequest("http://127.0.0.1:9464")),
    "prometheus-token": generate(
        PrometheusRequest("https://[2001:db8::1]:9464/", '/etc/a "b"/token', "web", "15s")
    ),
    "grafana": dashboard(GrafanaRequest()),
}


@pytest.mark.parametrize("case", CASES)
def test_goldens(golden: Golden, case: str) -> None:
    check_goldens(golden, case, CASES[case])


@pytest.mark.parametrize("case", ["prometheus", "prometheus-token"])
def test_promtool_takes_the_file_as_it_is(tmp_path: Path, case: str) -> None:
    packages.need("prometheus")
    generated: Generated = CASES[case]
    file = tmp_path / "prometheus.yml"
    # promtool looks for the token's file.
    token = tmp_path / "token"
    token.touch()
    quoted = json.dumps('/etc/a "b"/token')
    file.write_text(generated.files[0].text.replace(quoted, json.dumps(str(token))))
    command = ["promtool", "check", "config", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "request_",
    [
        PrometheusRequest("127.0.0.1:9464"),
        PrometheusRequest("unix:/run/x.sock"),
        PrometheusRequest("http://x\ny:1"),
        PrometheusRequest("http://x:1?a=b"),
        PrometheusRequest("http://x:1", token_file="token"),
        PrometheusRequest("http://x:1", job="a b"),
        PrometheusRequest("http://x:1", interval="1s\nx: y"),
    ],
)
def test_what_is_refused(request_: PrometheusRequest) -> None:
    with pytest.raises(UsageError) as caught:
        generate(request_)
    assert caught.value.why or caught.value.hint


def test_the_dashboard_asks_only_for_metrics_that_there_are() -> None:
    known = {family.name for family in families(STATUS)}
    known |= {f"cloister_scrape_{name}" for name in ("duration_seconds", "failures_total")}
    known |= {f"{name}_bucket" for name in known if name.endswith("_seconds")}
    for panel in panels("cloister"):
        for query, _ in panel.queries:
            words = query.replace("{", " ").replace("(", " ").split()
            used = {word for word in words if word.startswith("cloister_")}
            assert used
            assert used <= known, panel.title


def test_no_two_panels_of_the_dashboard_overlap() -> None:
    board = json.loads(CASES["grafana"].files[0].text)
    places: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & places, panel["title"]
        places |= cells
