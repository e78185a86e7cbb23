"""The dashboard, the alerts and the pages name only what a server under traffic really exposes."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import qwire
from qwire_server.errors import BY_CODE
from qwire_server.settings import Settings
from support import web_client
from support.certificates import Authority
from support.fake_server import wait_until
from support.keys import KeyFile, bearer
from support.machine_speed import hang_limit
from support.web_front import Front, serve

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "qwire.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
METRICS_PAGE = (ROOT / "docs" / "metrics.md").read_text("utf-8")
TROUBLE_PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
RULES = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]
METRIC = re.compile(r"\b(?:qwire|process)_[a-z_]+\b")
SELECTOR = re.compile(r"\b((?:qwire|process)_[a-z_]+)\{([^}]*)\}")
LABEL = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')

pytestmark = pytest.mark.timeout(60)
promtool = pytest.mark.skipif(
    not shutil.which("promtool"),
    reason="promtool is not installed (Debian: apt install prometheus)",
)


def grafana(expression: str) -> str:
    """As Grafana sends it, for all servers."""
    return expression.replace("$__rate_interval", "1m").replace("$instance", ".*")


EXPRESSIONS = {
    **{
        f"panel {panel['title']} {target['refId']}": grafana(target["expr"])
        for panel in PANELS
        for target in panel["targets"]
    },
    **{f"alert {rule['alert']}": rule["expr"] for rule in RULES},
    **{
        f"page {i}": block
        for i, block in enumerate(re.findall(r"```promql\n(.*?)```", METRICS_PAGE, re.DOTALL))
    },
}


@dataclass
class Web:
    """A server with TLS and keys.

    Attributes:
        key: may embed.
        watcher: a key of the scope that a scrape needs.
        http: trusts the server.
    """

    front: Front
    authority: Authority
    key: str
    watcher: str
    http: httpx.Client

    @property
    def url(self) -> str:
        return self.front.url.replace("http:", "https:")

    def client(self, **options: Any) -> qwire.Client:
        trust: dict[str, Any] = {"ca_cert": self.authority.pem, "api_key": self.key}
        return qwire.Client(self.front.grpc, **trust, **options)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One that did a bit of everything."""
    folder = tmp_path_factory.mktemp("web")
    authority, keys = Authority(folder), KeyFile(folder / "keys.toml")
    key, watcher = keys.new("caller"), keys.new("prometheus", "metrics")
    settings = {**authority.server().settings, "api_keys_file": keys.path}
    trusting = ssl.create_default_context(cadata=authority.pem.decode())
    with (
        serve(settings=settings, peak_flops=1e12) as front,
        web_client.client(verify=trusting) as http,
    ):
        running = Web(front, authority, key, watcher, http)
        call_all(running)
        yield running


def call_all(web: Web) -> None:
    """Calls of each kind; some texts are cut, some are refused."""
    with web.client() as client, web.client(model="x") as wrong:
        client.embed(["a", "b " * 200])
        assert len(list(client.embed_stream(["c", "d" * 5000, "e"]))) == 3
        with pytest.raises(qwire.ModelNotFoundError):
            wrong.embed(["a"])
    headers = dict(bearer(web.key))
    web.http.post(f"{web.url}/v1/embeddings", json={"input": ["a"] * 20}, headers=headers)


@pytest.fixture(scope="module")
def scraped(web: Web) -> dict[str, set[str]]:
    """Names of samples in a scrape, and their labels."""
    reply = web.http.get(f"{web.url}/metrics", headers=dict(bearer(web.watcher))).text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(reply):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@promtool
def test_the_alerts_are_valid_and_pass_their_tests():
    for command in ("check rules alerts.yaml", "test rules alerts.test.yaml"):
        promtool_says(command.split(), PROMETHEUS)


@promtool
def test_the_scrape_example_is_valid_and_loads_the_alerts():
    told = promtool_says(["check", "config", "prometheus.yaml"], PROMETHEUS)
    assert f"{len(RULES)} rules found" in told


@promtool
def test_the_scrape_example_is_valid_with_tls_and_keys_too(tmp_path: Path):
    """Its comments in force."""
    config = scrape_config(tmp_path, "https://localhost:8000", b"", "id.secret")
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    promtool_says(["check", "config", "prometheus.yaml"], tmp_path)


def scrape_config(folder: Path, url: str, ca: bytes, key: str) -> dict[str, Any]:
    """The example with its comments in force, and files in `folder` in place of those it names."""
    example = (PROMETHEUS / "prometheus.yaml").read_text("utf-8")
    in_force = re.sub(r"^( *)# ( *\w+:.*)$", r"\1\2", example, flags=re.MULTILINE)
    config: dict[str, Any] = yaml.safe_load(in_force)
    config["rule_files"] = [str(PROMETHEUS / "alerts.yaml")]
    (job,) = config["scrape_configs"]
    for section, name, content in (
        (job["tls_config"], "ca_file", ca),
        (job["authorization"], "credentials_file", key.encode()),
    ):
        section[name] = str(folder / name)
        (folder / name).write_bytes(content)
    scheme, _, address = url.partition("://")
    assert job["scheme"] == scheme
    job["static_configs"] = [{"targets": [address]}]
    return config


@promtool
def test_every_expression_parses(tmp_path: Path):
    rules = [{"record": f"r{i}", "expr": expr} for i, expr in enumerate(EXPRESSIONS.values())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool_says(["check", "rules", file.name], tmp_path)


def promtool_says(command: list[str], folder: Path) -> str:
    ran = subprocess.run(
        ["promtool", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_every_alert_has_a_test():
    tested = (PROMETHEUS / "alerts.test.yaml").read_text("utf-8")
    for rule in RULES:
        assert rule["alert"] in tested


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_an_expression_names_metrics_and_labels_that_a_scrape_has(
    scraped: dict[str, set[str]], expression: str
):
    assert set(METRIC.findall(expression)) <= scraped.keys()
    for metric, selector in SELECTOR.findall(expression):
        for label, _, value in LABEL.findall(selector):
            assert label in scraped[metric] | {"instance", "job"}
            assert value_exists(label, value), f"{label}={value}"


def value_exists(label: str, value: str) -> bool:
    """Whether the words of a selector are ours."""
    known = {
        "class": {"interactive", "bulk"},
        "reason": set(BY_CODE),
        "result": {"taken", "failed"},
        "job": {"qwire"},
        "instance": {".*"},
        "method": {".*Stream"},
    }
    return set(value.split("|")) <= known[label]


@pytest.mark.parametrize("page", [METRICS_PAGE, TROUBLE_PAGE], ids=["metrics", "troubleshooting"])
def test_a_page_names_only_metrics_that_a_scrape_has(scraped: dict[str, set[str]], page: str):
    named = {name for name in METRIC.findall(page) if not name.endswith("_")}  # qwire_batch_*
    assert named - {"qwire_server"} <= scraped.keys() | families(scraped)


def families(scraped: dict[str, set[str]]) -> set[str]:
    """Histograms by their own name."""
    return {name.removesuffix("_bucket") for name in scraped if name.endswith("_bucket")}


def test_the_page_has_a_row_for_every_metric_as_it_is_registered(web: Web):
    rows = set()
    for each in web.front.server._metrics.registry._collector_to_names:
        labels = ", ".join(f"`{label}`" for label in getattr(each, "_labelnames", ())) or "none"
        for told in each.describe() if hasattr(each, "describe") else ():
            name = f"{told.name}{'_total' if told.type == 'counter' else ''}"
            rows.add(f"| `{name}` | {told.type} | {labels} | {told.documentation} |")
    assert {line for line in METRICS_PAGE.splitlines() if line.startswith("| `qwire_")} == rows


@pytest.mark.parametrize("page", [METRICS_PAGE, TROUBLE_PAGE], ids=["metrics", "troubleshooting"])
def test_a_page_names_only_flags_and_reasons_that_exist(page: str):
    flags = {f"--{name.replace('_', '-')}" for name in Settings.model_fields} | {"--watch"}
    assert set(re.findall(r"--[a-z][a-z-]+", page)) <= flags
    shouted = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", page))
    assert shouted - {"CANCELLED"} - environment(page) <= set(BY_CODE)


def environment(page: str) -> set[str]:
    """Variables of other projects that a page names."""
    return set(re.findall(r"`((?:OTEL|HF|TORCHINDUCTOR|QWIRE)_[A-Z_]+)`", page))


@pytest.mark.parametrize("name", ["metrics.md", "troubleshooting.md"])
def test_every_link_of_a_page_leads_somewhere(name: str):
    page = ROOT / "docs" / name
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        path, _, heading = target.partition("#")
        found = (page.parent / path) if path else page
        assert found.exists(), target
        assert not heading or heading in anchors(found.read_text("utf-8")), target


def test_the_runbook_of_every_alert_is_a_heading():
    for rule in RULES:
        path, _, heading = rule["annotations"]["runbook"].partition("#")
        assert path == "docs/troubleshooting.md"
        assert heading in anchors(TROUBLE_PAGE), rule["alert"]


def anchors(page: str) -> set[str]:
    """Headings as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_dashboard_can_be_imported_into_any_grafana():
    """It names no data source but its own variable; panels neither overlap nor share ids."""
    (source, instance) = DASHBOARD["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    named = re.findall(r'"uid": "([^"]*)"', json.dumps(DASHBOARD))
    assert set(named) == {"qwire", "${datasource}"}
    assert METRIC.findall(instance["definition"]) == ["qwire_ready"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [cell for panel in DASHBOARD["panels"] for cell in covered(panel["gridPos"])]
    assert len(set(cells)) == len(cells)
    assert {x for x, _ in cells} == set(range(24))


def covered(place: dict[str, int]) -> list[tuple[int, int]]:
    return [(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])]


def test_every_panel_says_what_it_shows_and_in_what_unit():
    for panel in PANELS:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed")
def test_a_real_prometheus_has_data_for_every_panel(web: Web, tmp_path: Path):
    """Over TLS and by a key, while clients call; each expression gives at least one sample."""
    config = scrape_config(tmp_path, web.url, web.authority.pem, f"{web.watcher}\n")
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with prometheus(tmp_path) as api, traffic(web):
        missing = {name for name in EXPRESSIONS if not name.startswith("alert")}
        ends = time.monotonic() + hang_limit(60)
        while missing and time.monotonic() < ends:
            missing = {name for name in missing if not samples(api, EXPRESSIONS[name])}
            time.sleep(1)
        assert not missing
        rules = web_client.get(f"{api}/rules").json()["data"]["groups"][0]["rules"]
        assert {rule["health"] for rule in rules} == {"ok"}
        assert len(rules) == len(RULES)


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """Run one on a free port; where its API is."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: is_up(f"http://{address}/-/ready"), 20)
        yield f"http://{address}/api/v1"
    finally:
        process.terminate()
        process.wait(hang_limit(20))


def is_up(url: str) -> bool:
    try:
        return web_client.get(url).status_code == 200
    except httpx.TransportError:
        return False


def samples(api: str, expression: str) -> list[Any]:
    reply = web_client.get(f"{api}/query", params={"query": expression}).json()
    assert reply["status"] == "success", reply
    found: list[Any] = reply["data"]["result"]
    return found


@contextmanager
def traffic(web: Web) -> Iterator[None]:
    """Calls all the time, until the block is left."""
    leave = threading.Event()

    def work() -> None:
        while not leave.wait(0.2):
            call_all(web)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        leave.set()
        thread.join()
