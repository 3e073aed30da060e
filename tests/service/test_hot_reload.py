"""New versions and moved labels under load, with two real workers."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hammering import Hammer, hammering, on_every_worker
from serving import Service

from nncore.publishing import publish
from service.labels import LABELS_FILE, write_label

SECOND = 1.0


@pytest.fixture(scope="module")
def reloading(
    tmp_path_factory: pytest.TempPathFactory, xor_file: Callable[[int], bytes]
) -> Iterator[tuple[Service, Iterator[Path]]]:
    """A service that these tests change, and the models that it had from its start: one for each of them."""
    folder = tmp_path_factory.mktemp("reloading")
    models = [folder / "store" / f"xor-{number}" for number in range(4)]
    for model in models:
        write_label(model, "stable", publish(model, xor_file(1)))
    service = Service(folder, workers=2, log_level="WARNING")
    yield service, iter(models)
    service.stop()


@pytest.fixture
def service(reloading: tuple[Service, Iterator[Path]]) -> Iterator[Service]:
    """The service that reloads; pytest shows what it logged during a test that failed."""
    before = len(reloading[0].log)
    yield reloading[0]
    print(reloading[0].log[before:])


@pytest.fixture
def model(reloading: tuple[Service, Iterator[Path]]) -> Path:
    """A model of the test's own, of which version 1 is served."""
    return next(reloading[1])


def change_under_load(service: Service, model: Path, change: Callable[[], object], version: int) -> None:
    """Make a change while clients hammer every worker; check that it is seen everywhere within a second."""
    with hammering(on_every_worker(service, model.name, each=3)) as hammers:
        wait(hammers, 20)
        changed = time.monotonic()
        change()
        while time.monotonic() < changed + SECOND:
            time.sleep(0.05)
        wait(hammers, 20)

    shots = [shot for hammer in hammers for shot in hammer.shots]
    assert [shot for shot in shots if shot.failure or shot.status != 200] == []
    # One that was on its way at that moment may have been answered either way.
    assert {shot.version for shot in shots if shot.answered < changed} == {version - 1}
    for hammer in hammers:
        late = [shot.version for shot in hammer.shots if shot.sent > changed + SECOND]
        assert len(late) >= 20
        assert set(late) == {version}


def wait(hammers: list[Hammer], more: int) -> None:
    """Wait until each client has had so many more answers."""
    wanted = [len(hammer.shots) + more for hammer in hammers]
    while any(len(hammer.shots) < count for hammer, count in zip(hammers, wanted, strict=True)):
        time.sleep(0.005)


def test_a_moved_label_is_served_by_every_worker_within_a_second(
    service: Service, model: Path, xor_file: Callable[[int], bytes]
) -> None:
    number = publish(model, xor_file(2))

    change_under_load(service, model, lambda: write_label(model, "stable", number), number)


def test_a_new_version_is_served_by_every_worker_within_a_second(
    service: Service, model: Path, xor_file: Callable[[int], bytes]
) -> None:
    # Without labels the newest version is the stable one.
    (model / LABELS_FILE).unlink()

    change_under_load(service, model, lambda: publish(model, xor_file(2)), 2)


def test_a_version_and_its_label_published_together_are_served_within_a_second(
    service: Service, model: Path, xor_file: Callable[[int], bytes]
) -> None:
    change_under_load(service, model, lambda: write_label(model, "stable", publish(model, xor_file(2))), 2)


def test_a_damaged_version_under_load_costs_no_request(
    service: Service, model: Path, xor_file: Callable[[int], bytes]
) -> None:
    with hammering(on_every_worker(service, model.name, each=2)) as hammers:
        write_label(model, "stable", publish(model, xor_file(2)[:-8]))
        wait(hammers, 100)

    shots = [shot for hammer in hammers for shot in hammer.shots]
    assert {(shot.status, shot.version, shot.failure) for shot in shots} == {(200, 1, "")}
    failures = service.ask("GET", "/readyz").json["models"][model.name]["failures"]
    assert failures.keys() == {"2"}
