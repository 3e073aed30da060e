"""What Prometheus is told when it asks: the counters of all workers, and what is looked up at that moment."""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.multiprocess import MultiProcessCollector

from nncore import __version__
from nncore.reference import BINS
from service.jobs.figures import Figures, Reader
from service.layout import CONFIDENCE
from service.loading import Served
from service.metrics import OTHER, Metrics
from service.monitoring import Monitoring
from service.processes import Process, trainers, web_processes
from service.report import indices, report
from service.store import Entry, Store
from service.tally import Tally

# Versions whose answers are told of: those that a label names.
MOST_VERSIONS = 100
# Labels of a version that are told apart; the others are counted together.
MOST_NAMES = 50
TENTHS = [f"{place / BINS:g}" for place in range(1, BINS)] + ["+Inf"]
BUILD = {"version": __version__}


class Exposition:
    """Everything that GET /metrics tells."""

    def __init__(
        self, tally: Tally, metrics: Metrics, store: Store, monitoring: Monitoring, jobs: Reader
    ) -> None:
        self.tally, self.metrics, self.store = tally, metrics, store
        self.monitoring, self.jobs = monitoring, jobs

    def begin(self) -> None:
        """Take this worker's place, before it answers anybody, and tell what it has loaded."""
        self.tally.take_place()
        for name, entry in self.store.entries().items():
            self.metrics.looked_anew(name, entry, entry)

    def text(self) -> bytes:
        """Return it in Prometheus's text format."""
        registry = CollectorRegistry() if self.tally.path else self.metrics.registry
        if self.tally.path:
            MultiProcessCollector(registry, str(self.tally.path))  # type: ignore[no-untyped-call]
        looked_up = CollectorRegistry()
        looked_up.register(self)
        return generate_latest(registry) + generate_latest(looked_up)

    def describe(self) -> list[Metric]:
        """Return nothing: it would be looked up at once, only to be registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield what is looked up."""
        entries = self.store.entries()
        figures = self.jobs.read()
        build = GaugeMetricFamily("nnserve_build_info", "The version of nnserve.", labels=list(BUILD))
        build.add_metric(list(BUILD.values()), 1)
        yield build
        yield from _models(entries)
        yield _gauge("nnserve_database_up", "Whether the database answered.", [((), figures is not None)])
        if figures is not None:
            yield from _jobs(figures)
        yield from self._processes(figures)
        yield from self._answers(entries)

    def _processes(self, figures: Figures | None) -> Iterator[Metric]:
        # Without a master there are no workers: this process serves alone, in a test say.
        found: list[Process] = list(web_processes()) if self.tally.path else []
        found += trainers(beat.trainer for beat in figures.trainers) if figures else ()
        memory = [((one.role, str(one.pid)), one.resident) for one in found]
        meaning = "Memory of a process; what several share is counted for each."
        yield _gauge("nnserve_process_resident_bytes", meaning, memory, "role", "pid")

    def _answers(self, entries: dict[str, Entry]) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            "nnserve_answers", "Examples answered with a label.", labels=["model", "version", "label"]
        )
        sure = HistogramMetricFamily(
            "nnserve_confidence", "How sure the answers were.", labels=["model", "version"]
        )
        drift = GaugeMetricFamily(
            "nnserve_drift_psi",
            "Population stability index against the reference in the card.",
            labels=["model", "version", "of"],
        )
        for served in _labelled(entries):
            version = [served.model, str(served.version)]
            _, _, total, layout = self.monitoring.counts(served)
            if layout.values is None:
                names = served.predictor.card.output.labels
                for name, count in _told_apart(names, total[layout.labels : layout.confidence].tolist()):
                    answers.add_metric([*version, name], count)
                tenths = total[layout.confidence :].cumsum().tolist()
                sure.add_metric(version, list(zip(TENTHS, tenths, strict=True)), float(total[CONFIDENCE]))
            for of, (index, _) in indices(report(self.monitoring, served)).items():
                drift.add_metric([*version, of], index)
        yield from (answers, sure, drift)


def _labelled(entries: dict[str, Entry]) -> list[Served]:
    """Return the versions that a label names or that are served by default, each once."""
    found = []
    for entry in entries.values():
        numbers = {*entry.labels.values(), *([entry.stable.version] if entry.stable else [])}
        found += [entry.loaded[number] for number in sorted(numbers) if number in entry.loaded]
    return found[:MOST_VERSIONS]


def _told_apart(names: tuple[str, ...], counts: list[float]) -> list[tuple[str, float]]:
    if len(counts) <= MOST_NAMES:
        return list(zip(names[: len(counts)], counts, strict=True))
    rest = sum(counts[MOST_NAMES:])
    return [*zip(names[:MOST_NAMES], counts[:MOST_NAMES], strict=True), (f"{OTHER} labels", rest)]


def _models(entries: dict[str, Entry]) -> Iterator[Metric]:
    ready = [((name,), entry.ready) for name, entry in entries.items()]
    yield _gauge("nnserve_model_ready", "Whether a model can answer.", ready, "model")
    stable = [((name,), entry.stable.version) for name, entry in entries.items() if entry.stable]
    yield _gauge("nnserve_model_stable_version", "The version served by default.", stable, "model")
    count = [((name,), len(entry.numbers)) for name, entry in entries.items()]
    yield _gauge("nnserve_model_versions", "Versions in the store.", count, "model")
    failing = [((name,), len(entry.complaints())) for name, entry in entries.items()]
    yield _gauge("nnserve_model_failing_versions", "Versions that cannot be served.", failing, "model")


def _jobs(figures: Figures) -> Iterator[Metric]:
    by_state = [((state,), count) for state, count in figures.jobs.items()]
    yield _gauge("nnserve_jobs", "Jobs by state; those queued are the queue's depth.", by_state, "state")
    meaning = "Time since the oldest queued job was asked for."
    yield _gauge("nnserve_queue_oldest_seconds", meaning, [((), figures.oldest_queued)])
    beats = CounterMetricFamily(
        "nnserve_trainer_heartbeats", "Signs of life of a trainer.", labels=["trainer"]
    )
    for beat in figures.trainers:
        beats.add_metric([beat.trainer], beat.heartbeats)
    yield beats
    ago = [((beat.trainer,), beat.seconds_ago) for beat in figures.trainers]
    yield _gauge(
        "nnserve_trainer_silence_seconds", "Time since a trainer's last sign of life.", ago, "trainer"
    )


def _gauge(
    name: str, meaning: str, values: Sequence[tuple[tuple[str, ...], float]], *labels: str
) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, meaning, labels=list(labels))
    for of, value in values:
        gauge.add_metric(list(of), float(value))
    return gauge
