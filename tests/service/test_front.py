"""What stands before the views: hosts, origins, CORS, security headers, proxies and the path prefix."""

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from serving import DEADLINE, JSON, Answer, Service
from training import post_job

from service.hosts import Hosts
from service.settings import Settings

XOR = b'{"model": "xor", "inputs": [[0, 1]]}'
PAGE = "https://pages.example.org"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service behind a proxy, below a prefix, which pages of one origin may call."""
    folder = tmp_path_factory.mktemp("proxied")
    service = Service(
        folder,
        workers=2,
        allow_anonymous="predict,train",
        trusted_hosts="nn.example.org, .example.net",
        cors_origins=PAGE,
        trusted_proxies=1,
        path_prefix="/nn",
        log_format="json",
    )
    yield service
    service.stop()
    print(service.log)


def predict(service: Service, headers: dict[str, str], path: str = "/predict") -> Answer:
    return service.ask("POST", path, XOR, JSON | headers)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:8000", "LOCALHOST:1", "nn.localhost"])
def test_a_host_of_this_machine_is_ours(service: Service, host: str) -> None:
    assert predict(service, {"Host": host}).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "127.0.0.1.example.org",
        "localhost.example.org",
        "10.0.0.1",
        "",
        "a b",
        "xn--nxasmq6b",
        "::1x",
    ],
)
def test_a_foreign_host_is_refused_also_on_loopback(service: Service, host: str) -> None:
    answer = predict(service, {"Host": host})

    assert answer.status == 403
    assert "NNSERVE_TRUSTED_HOSTS" in answer.json["detail"]


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://evil.example/models", "localhost", 403),
        ("http://localhost@evil.example/models", "localhost", 403),
        ("//evil.example/models", "evil.example", 403),
        ("http://localhost/models", "evil.example", 200),
        ("http://[::1]:8000/models", "evil.example", 200),
        ("HTTP://LOCALHOST/models", "evil.example", 200),
        ("*", "evil.example", 403),
        ("http:///models", "evil.example", 403),
    ],
)
def test_of_a_target_that_is_a_whole_url_the_host_counts(
    service: Service, target: str, host: str, status: int
) -> None:
    method = "OPTIONS" if target == "*" else "GET"
    assert service.ask(method, target, headers={"Host": host}).status == status


@pytest.mark.parametrize(
    ("target", "leads_to"), [("", "/docs"), ("/models//xor", "http://localhost/models/xor")]
)
def test_such_a_target_leads_to_no_other_host(service: Service, target: str, leads_to: str) -> None:
    answer = service.ask("GET", f"http://localhost{target}", headers={"Host": "evil.example"})

    assert answer.headers["location"] == leads_to


def test_an_origin_is_our_own_where_it_is_the_targets(service: Service) -> None:
    for origin, status in (("http://nn.localhost", 200), ("http://localhost", 403)):
        headers = {"Host": "localhost", "Origin": origin}
        assert service.ask("GET", "http://nn.localhost/models", headers=headers).status == status


def test_a_request_without_a_host_comes_from_no_page(service: Service) -> None:
    assert ask_without_host(service, "/models").status == 200


def test_a_request_without_a_host_is_led_to_where_the_service_listens(service: Service) -> None:
    answer = ask_without_host(service, "/models//xor")

    assert answer.getheader("Location") == f"http://127.0.0.1:{service.port}/models/xor"


def ask_without_host(service: Service, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=DEADLINE)
    connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"
    connection.putrequest("GET", path, skip_host=True)
    connection.endheaders()
    answer = connection.getresponse()
    connection.close()
    return answer


def test_an_address_tells_which_methods_it_takes(service: Service) -> None:
    # Several times: what an address led to is remembered.
    for _ in range(2 * len(service.workers())):
        allowed = service.ask("OPTIONS", "/models/xor").headers["allow"]
        assert set(allowed.split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_names_of_the_setting_are_ours_too(proxied: Service) -> None:
    for host in ("nn.example.org", "NN.example.org:443", "a.example.net", "example.net", "localhost"):
        assert predict(proxied, {"Host": host}).status == 200, host
    assert predict(proxied, {"Host": "example.org"}).status == 403


@pytest.mark.parametrize("host", ["NN.Example.ORG", "nn.example.org:80", "a.b.example.net", "10.1.2.3:8000"])
def test_a_name_of_the_setting_is_known_however_it_is_written(host: str) -> None:
    hosts = Hosts(Settings(trusted_hosts="nn.EXAMPLE.org, .Example.net,10.1.2.3"))

    assert hosts.is_ours(host)
    assert not hosts.is_ours("10.1.2.4")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://Pages.Example.org", "https://pages.example.org"),
        ("HTTPS://pages.example.org:443", "https://pages.example.org"),
        ("http://pages.example.org:80", "http://pages.example.org"),
        ("http://pages.example.org:443", "http://pages.example.org:443"),
    ],
)
def test_an_origin_of_the_setting_is_known_as_browsers_write_it(given: str, sent: str) -> None:
    assert Hosts(Settings(cors_origins=given)).is_allowed(sent)
    assert not Hosts(Settings(cors_origins=given)).is_allowed(f"{sent}.example")


def test_a_load_balancer_may_ask_for_life_by_any_name(service: Service) -> None:
    assert service.ask("GET", "/healthz", headers={"Host": "backend-7"}).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://127.0.0.1:1", "file://", "x"])
def test_a_page_of_a_foreign_origin_is_refused(service: Service, origin: str) -> None:
    answer = predict(service, {"Origin": origin})

    assert answer.status == 403
    assert "NNSERVE_CORS_ORIGINS" in answer.json["detail"]
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_of_our_own_may_call(service: Service) -> None:
    assert predict(service, {"Origin": f"http://127.0.0.1:{service.port}"}).status == 200


def test_below_v2_a_refusal_has_the_form_of_the_protocol(service: Service) -> None:
    answer = service.ask("GET", "/v2", headers={"Origin": "null"})

    assert (answer.status, answer.json.keys()) == (403, {"error"})


def test_a_page_that_is_allowed_may_call_and_read(proxied: Service) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    preflight = proxied.ask("OPTIONS", "/models/xor/labels/stable", headers=asked)
    assert preflight.status == 204
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert "Authorization" in preflight.headers["access-control-allow-headers"]

    for answer in (
        predict(proxied, {"Origin": PAGE}),
        proxied.ask("GET", "/nothing", headers={"Origin": PAGE}),
    ):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["vary"] == "Origin"
        assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
    for origin in ("https://evil.example", "null"):
        refused = proxied.ask("OPTIONS", "/predict", headers=asked | {"Origin": origin})
        assert refused.status == 403
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(("method", "path"), [("GET", "/models"), ("GET", "/nothing"), ("POST", "/predict")])
def test_every_answer_says_what_a_browser_must_not_do_with_it(
    service: Service, method: str, path: str
) -> None:
    headers = service.ask(method, path, b"").headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "gunicorn" not in str(headers)


def test_what_a_view_says_itself_stays(service: Service) -> None:
    file = service.ask("GET", "/models/xor/versions/1/file").headers
    page = service.ask("GET", "/docs").headers

    assert file["cache-control"] == "no-cache"
    assert page["content-security-policy"] != "default-src 'none'; frame-ancestors 'none'"


def test_links_carry_the_prefix_whether_a_proxy_takes_it_off_or_not(proxied: Service) -> None:
    answers = [post_job(proxied, "xor", recipe="xor"), predict_job(proxied, "/nn/train")]

    assert [answer.status for answer in answers] == [202, 202]
    for answer in answers:
        assert answer.headers["location"] == f"/nn/train/{answer.json['id']}"
        assert proxied.ask("GET", answer.headers["location"]).status == 200
    assert proxied.ask("GET", "/nnpredict").status == 404
    assert proxied.ask("GET", "/nn").status == proxied.ask("GET", "/").status


def predict_job(service: Service, path: str) -> Answer:
    return service.ask("POST", path, b'{"model": "xor", "recipe": "xor"}', JSON)


def test_the_address_that_a_trusted_proxy_saw_is_the_callers(proxied: Service, service: Service) -> None:
    forged = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    for one, client in ((proxied, "198.51.100.7"), (service, "127.0.0.1")):
        asked = JSON | forged
        answer = one.ask("POST", "/train", b'{"model": "xor", "recipe": "xor"}', asked)
        assert client_of(one, answer.json["id"]) == client


def client_of(service: Service, job: str) -> str:
    import sqlite3
    from contextlib import closing

    path = service.settings["database_url"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        [client] = connection.execute("select client from jobs where id = ?", (job,)).fetchone()
    return str(client)


def lines(service: Service, request_id: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in service.log.splitlines()]
    return [line for line in found if line["request_id"] == request_id]


def test_a_trace_is_taken_over_told_and_logged(proxied: Service) -> None:
    headers = {"traceparent": TRACEPARENT, "X-Request-ID": "traced"}
    answer = predict(proxied, headers, "/predict?secret=1")

    version, trace_id, span_id, flags = answer.headers["traceresponse"].split("-")
    assert (version, trace_id, flags) == ("00", TRACEPARENT[3:35], "01")
    assert span_id != TRACEPARENT[36:52]
    [line] = lines(proxied, "traced")
    assert line | {"trace_id": trace_id, "span_id": span_id, "parent_id": TRACEPARENT[36:52]} == line
    assert line["parsing_ms"] > 0
    assert line["inference_ms"] > 0
    assert "secret" not in proxied.log


@pytest.mark.parametrize(
    "sent",
    [
        TRACEPARENT.upper(),
        TRACEPARENT + "-more",
        TRACEPARENT.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        f"{TRACEPARENT},{TRACEPARENT}",
        TRACEPARENT[:-1],
        "",
    ],
)
def test_a_trace_that_is_not_well_formed_is_none(service: Service, sent: str) -> None:
    answer = predict(service, {"traceparent": sent})

    assert answer.status == 200
    assert "traceresponse" not in answer.headers


def test_of_a_later_version_what_is_known_is_taken(service: Service) -> None:
    answer = predict(
        service, {"traceparent": TRACEPARENT.replace("00-", "cc-", 1) + "-what-the-future-holds"}
    )

    assert answer.headers["traceresponse"].startswith(TRACEPARENT[:35])


def test_a_job_is_trained_in_the_trace_of_who_asked_for_it(
    start: Callable[..., Service], tmp_path: Any
) -> None:
    from training import Trainer, wait_until

    service = start(workers=1)
    trace = {"traceparent": TRACEPARENT}
    job = service.ask("POST", "/train", b'{"model": "line", "recipe": "line"}', JSON | trace).json["id"]
    trainer = Trainer(tmp_path, service.settings)
    try:
        wait_until(service, job, "succeeded", "failed")
    finally:
        trainer.stop()

    assert f"[{'-'} {TRACEPARENT[3:35]}] job {job}: training" in trainer.log
    assert "trace_id" not in service.ask("GET", f"/train/{job}").body.decode()
