"""What a service tells Prometheus, as figures by name and labels."""

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from serving import Service

Key = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Scrape:
    """One answer of GET /metrics."""

    text: str
    figures: Mapping[Key, float]

    def get(self, name: str, **labels: str) -> float:
        """Return the sum of all figures of that name that have these labels, 0 where there is none."""
        wanted = frozenset(labels.items())
        return sum(value for (known, of), value in self.figures.items() if known == name and wanted <= of)

    def values(self, name: str, label: str) -> set[str]:
        """Return the values that a label of a figure has."""
        return {dict(of)[label] for known, of in self.figures if known == name}

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.figures}


def scrape(service: Service) -> Scrape:
    answer = service.ask("GET", "/metrics")
    assert answer.status == 200, answer.body
    return parse(answer.body.decode())


def parse(text: str) -> Scrape:
    figures = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return Scrape(text, figures)
