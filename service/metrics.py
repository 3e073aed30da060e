"""What is counted of requests, models and answers, for Prometheus.

Labels are of a bounded number: a route is the rule that a path matched and never the path, and a model is one
that was found.
"""

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from service.store import Entry

# Names in the WSGI environment. Where a view leaves the version that answers, and the seconds that took:
SERVED, PARSING, INFERENCE = "nnserve.served", "nnserve.parsing", "nnserve.inference"
# When the request came, by time.perf_counter.
BEGAN = "nnserve.began"

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
UNMATCHED, OTHER = "unmatched", "other"
# Combinations of labels that a worker tells apart; models and versions past it are counted together.
MOST_CHILDREN = 500

REQUEST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
STEP = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5)
ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


class Metrics:
    """The counters of one worker. Each is opened when it first counts, so that none crosses a fork."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        request = ("method", "route", "model", "version", "status")
        version = ("model", "version")
        self.requests = self._counter("nnserve_requests", "Requests answered.", request)
        self.seconds = self._histogram(
            "nnserve_request_seconds", "Time from the request's arrival to its answer.", request, REQUEST
        )
        self.parsing = self._histogram(
            "nnserve_parsing_seconds", "Time of a prediction before its inference.", version, STEP
        )
        self.inference = self._histogram(
            "nnserve_inference_seconds", "Time of a prediction's inference.", version, STEP
        )
        self.rows = self._histogram("nnserve_batch_rows", "Examples in a prediction.", version, ROWS)
        self.reloads = self._counter(
            "nnserve_reloads", "Times a worker began to serve another version as the stable one.", ("model",)
        )
        self.failures = self._counter(
            "nnserve_load_failures", "Versions that a worker could not load.", ("model",)
        )
        self.loaded = Gauge(
            "nnserve_versions_loaded",
            "Versions in a worker's memory; pid is the worker's place.",
            ("model",),
            registry=self.registry,
            multiprocess_mode="liveall",
        )
        self._requests: dict[tuple[str, ...], tuple[Any, Any]] = {}
        self._predictions: dict[tuple[str, int], tuple[Any, Any, Any]] = {}

    def answered(self, environ: dict[str, Any], status: str, seconds: float) -> None:
        """Count a request by what is known of it when its answer begins."""
        request = environ.get("werkzeug.request")
        rule = request.url_rule if request is not None else None
        model, version = environ.get(SERVED, ("", ""))
        key = (environ["REQUEST_METHOD"], rule.rule if rule else UNMATCHED, model, version, status[:3])
        count, duration = self._requests.get(key) or self._request(*key)
        count.inc()
        duration.observe(seconds)

    def predicted(self, model: str, version: int, rows: int, parsing: float, inference: float) -> None:
        """Count a prediction, its examples, and the seconds before its inference and in it."""
        of = model, version
        before, within, size = self._predictions.get(of) or self._prediction(*of)
        before.observe(parsing)
        within.observe(inference)
        size.observe(rows)

    def looked_anew(self, model: str, before: "Entry | None", now: "Entry | None") -> None:
        """Count what has changed in what a worker knows of a model."""
        failed = (now.failures if now else {}).keys() - (before.failures if before else {}).keys()
        if failed:
            self.failures.labels(model).inc(len(failed))
        if now and now.stable is not None and (before is None or now.stable is not before.stable):
            self.reloads.labels(model).inc()
        self.loaded.labels(model).set(len(now.loaded) if now else 0)

    def _request(self, method: str, route: str, model: str, version: Any, status: str) -> tuple[Any, Any]:
        labels = (method if method in METHODS else OTHER, route, model, version, status)
        if len(self._requests) < MOST_CHILDREN and labels[0] != OTHER:
            found = self._requests[labels] = self.requests.labels(*labels), self.seconds.labels(*labels)
            return found
        labels = (labels[0], route, model and OTHER, model and OTHER, status)
        return self.requests.labels(*labels), self.seconds.labels(*labels)

    def _prediction(self, model: str, version: int) -> tuple[Any, Any, Any]:
        if len(self._predictions) >= MOST_CHILDREN:
            return self._labelled(OTHER, OTHER)
        found = self._predictions[model, version] = self._labelled(model, version)
        return found

    def _labelled(self, *version: Any) -> tuple[Any, Any, Any]:
        return self.parsing.labels(*version), self.inference.labels(*version), self.rows.labels(*version)

    def _counter(self, name: str, meaning: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(name, meaning, labels, buckets=buckets, registry=self.registry)
