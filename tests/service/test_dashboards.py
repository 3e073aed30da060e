"""What is shipped for Prometheus and Grafana, and a real Prometheus that scrapes a running service."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from flask import Flask
from serving import ROOT, Service, free_port, wait_for

DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana.json").read_text())
ALERTS = yaml.safe_load((DEPLOY / "alerts.yml").read_text())
EXPRESSIONS = [
    *(target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())),
    *(rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]),
]


@pytest.fixture
def promtool() -> str:
    return installed("promtool")


def installed(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: it comes with Debian's prometheus")
    return found


def run(*command: object) -> str:
    done = subprocess.run(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_every_expression_is_one(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"expression_{place}", "expr": expr} for place, expr in enumerate(EXPRESSIONS)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))

    assert f"{len(EXPRESSIONS)} rules found" in run(promtool, "check", "rules", file)


def test_the_example_of_a_configuration_is_right_with_its_alerts(promtool: str) -> None:
    assert "rules found" in run(promtool, "check", "config", DEPLOY / "prometheus.yml")


def exported(app: Flask) -> set[str]:
    text = app.test_client().get("/metrics").text
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)", text, re.MULTILINE):
        names |= {name} if kind != "histogram" else {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    return {name for name in names if not name.endswith("_created")}


def test_every_metric_that_is_shown_or_watched_is_exported_and_every_exported_one_documented(
    make_app: Callable[..., Flask],
) -> None:
    names = exported(make_app())
    used = set(re.findall(r"\bnnserve_\w+", " ".join(EXPRESSIONS)))

    assert used <= names
    documented = set(re.findall(r"`(nnserve_\w+)", (ROOT / "docs" / "monitoring.md").read_text()))
    assert documented == {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def test_a_dashboard_has_panels_that_do_not_overlap_and_ask_the_chosen_source() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


class Prometheus:
    """A Prometheus that scrapes a service once a second, by the shipped configuration."""

    def __init__(self, binary: str, folder: Path, service: Service) -> None:
        config = (DEPLOY / "prometheus.yml").read_text()
        config = config.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}").replace("15s", "1s")
        (folder / "prometheus.yml").write_text(config)
        shutil.copy(DEPLOY / "alerts.yml", folder)
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.log = (folder / "prometheus.log").open("w+")
        command = [binary, "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
        command.append(f"--web.listen-address=127.0.0.1:{port}")
        self.process = subprocess.Popen(command, cwd=folder, stdout=self.log, stderr=self.log)

    def ask(self, path: str, **query: str) -> Any:
        try:
            answer = requests.get(f"{self.url}/api/v1/{path}", params=query, timeout=5).json()
        except (requests.ConnectionError, ValueError):
            return {}
        return answer.get("data", {})

    def value(self, expression: str) -> float | None:
        result = self.ask("query", query=expression).get("result")
        return float(result[0]["value"][1]) if result else None

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def prometheus(tmp_path: Path, service: Service) -> Iterator[Prometheus]:
    prometheus = Prometheus(installed("prometheus"), tmp_path, service)
    yield prometheus
    prometheus.stop()


def test_a_real_prometheus_scrapes_the_service_and_evaluates_the_alerts(
    prometheus: Prometheus, service: Service
) -> None:
    asked = 'nnserve_requests_total{route="/predict", model="line", version="7"}'
    assert prometheus.value(asked) is None
    for _ in range(3):
        assert service.predict(model="line", inputs=[[1]]).status == 200
    asked = 'sum(nnserve_inference_seconds_count{model="line"})'
    said = service.ask("GET", "/metrics").body.decode()
    count = float(
        re.findall(r'^nnserve_inference_seconds_count\{model="line".* (\S+)$', said, re.MULTILINE)[0]
    )

    wait_for(lambda: (prometheus.value(asked) or 0) >= count >= 3, "the figure in Prometheus", service)

    assert prometheus.value('up{job="nnserve"}') == 1
    [target] = prometheus.ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    wait_for(
        lambda: all(rule["health"] == "ok" for rule in rules(prometheus)) and rules(prometheus), "the alerts"
    )
    assert {rule["name"] for rule in rules(prometheus)} == {
        rule["alert"] for group in ALERTS["groups"] for rule in group["rules"]
    }


def rules(prometheus: Prometheus) -> list[Any]:
    return [rule for group in prometheus.ask("rules").get("groups", ()) for rule in group["rules"]]
