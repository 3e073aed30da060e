import dataclasses
import errno
import hashlib
import itertools
import json
import os
import resource
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nncore import checkpoints as checkpoints_module
from nncore import files
from nncore.augmentation import Augmentation
from nncore.checkpoints import DIGEST_BYTES, HEADER_BYTES, Checkpoints, Place
from nncore.convolution import Conv2D
from nncore.datasets import Split
from nncore.errors import CheckpointError
from nncore.layers import Dense, Dropout, Flatten, ReLU, Tanh
from nncore.losses import LOSSES
from nncore.network import Network
from nncore.normalization import BatchNorm
from nncore.optimizers import SGD, Adam, AdamW
from nncore.pooling import MaxPool2D
from nncore.randomness import Position
from nncore.schedules import Constant, Cosine, OneCycle, Step
from nncore.training import Callback, EarlyStopping, fit

FINGERPRINT = hashlib.sha256(b"a run").hexdigest()


class Killed(BaseException):
    """As near to kill -9 as a test in one process comes: nothing of nncore catches it."""


class Watcher(Callback):
    """Asks for a checkpoint every so many batches or epochs, notes what it hears, ends a run at an event."""

    def __init__(self, checkpoints=None, *, every=1, end_at=None, with_=Killed):
        self.checkpoints, self.every, self.end_at, self.with_ = checkpoints, every, end_at, with_
        self.events, self.asked = [], 0

    def on_resume(self, epochs):
        self.note("resume", [epoch.number for epoch in epochs])

    def on_batch(self, batch, batches, loss):
        self.ask()
        self.note("batch", batch, batches)

    def on_epoch(self, epoch):
        self.ask()
        self.note("epoch", epoch.number)

    def ask(self):
        self.asked += 1
        if self.checkpoints is not None and self.asked % self.every == 0:
            self.checkpoints.ask()

    def on_checkpoint(self, epoch, batch, batches):
        self.note("checkpoint", epoch, batch, batches)

    def on_checkpoint_failed(self, error):
        self.note("failed", error.errno)

    def note(self, *event):
        self.events.append(event)
        if self.end_at in (event, len(self.events)):
            raise self.with_


def blobs(count, seed=0):
    """Points around three corners, and which corner."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    angle = 2 * np.pi * labels / 3
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.5 * rng.standard_normal((count, 2))
    return Split(x.astype(np.float32), labels)


def drawings(count, seed=0):
    """Pictures with a dark, a grey or a bright corner."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    x = rng.random((count, 5, 4))
    x[:, :2, :2] += labels[:, None, None]
    return Split(x.astype(np.float32), labels)


class ThereAndBack:
    """Down for an epoch, then up again: the first one is the best."""

    def factor(self, epoch, epochs):
        return 1.0 if epoch < 1 else -1.0


@dataclasses.dataclass
class Task:
    """What is trained, again and again from the same first weights."""

    layers: tuple = (Dense(5), Tanh(), Dropout(0.3), Dense(3))
    rows: int = 20
    data: Callable = blobs
    settings: dict = dataclasses.field(default_factory=dict)

    def fit(self, folder=None, *, seconds=3600, fingerprint=FINGERPRINT, watcher=Watcher, **watching):
        """Return the trained network's bytes, its history and the watcher; None, None where it was killed."""
        data = self.data(self.rows)
        network = Network(self.layers, data.inputs.shape[1:])
        network.initialize(np.random.default_rng(7))
        checkpoints = None
        if folder is not None:
            checkpoints = Checkpoints(folder, every=seconds)
            checkpoints.bind(fingerprint)
        watcher = watcher(checkpoints, **watching)
        settings = {"optimizer": Adam(0.01), "epochs": 4, "batch_size": 6, "validation": self.data(9, 1)}
        settings |= self.settings
        loss = LOSSES["softmax_cross_entropy"]
        try:
            history = fit(
                network,
                data,
                loss=loss,
                callbacks=[watcher],
                checkpoints=checkpoints,
                **settings,
            )
        except Killed:
            return None, None, watcher
        assert network.flat.dtype == np.float32
        return network.flat.tobytes(), history, watcher


TASK = Task()
WORSE = {"optimizer": SGD(0.3), "schedule": ThereAndBack()}


def learning(events):
    """What a run did, without its checkpoints: batches and epochs."""
    return [event for event in events if event[0] in ("batch", "epoch")]


def killed_after(folder, epoch, batch=4, task=TASK):
    """Leave the checkpoints of a run that was killed once the last of an epoch's batches was on disk."""
    _, _, watcher = task.fit(folder, end_at=("checkpoint", epoch, batch, 4))
    assert watcher.events[-1] == ("checkpoint", epoch, batch, 4)
    return sorted(folder.iterdir())


# The same bytes.

tasks = st.builds(
    Task,
    layers=st.sampled_from(
        [(Dense(3),), (Dense(6), ReLU(), Dense(3)), (Dropout(0.2), Dense(5), Tanh(), Dropout(0.5), Dense(3))]
    ),
    rows=st.integers(1, 23),
    settings=st.fixed_dictionaries(
        {
            "optimizer": st.sampled_from(
                [
                    Adam(0.02, weight_decay=0.1),
                    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
                    SGD(0.2),
                ]
            ),
            "schedule": st.sampled_from([Constant(), Cosine(), OneCycle(), Step(2, 0.5), ThereAndBack()]),
            "batch_size": st.integers(1, 9),
            "epochs": st.integers(1, 4),
            "seed": st.integers(0, 9),
            "l2": st.sampled_from([0.0, 0.1]),
            "clip_norm": st.sampled_from([None, 0.5]),
        },
        optional={
            "validation": st.sampled_from([None, blobs(7, 2)]),
            "early_stopping": st.sampled_from(
                [EarlyStopping(1), EarlyStopping(2, "accuracy"), EarlyStopping(9, minimum_improvement=0.05)]
            ),
        },
    ).map(lambda options: {"validation": blobs(7, 2), **options} | needs_validation(options)),
)


def needs_validation(options):
    return {"validation": blobs(7, 2)} if "early_stopping" in options else {}


PICTURES = Task(
    layers=(
        Conv2D(3, 3, padding="same", bias=False),
        MaxPool2D(2),
        BatchNorm(),
        ReLU(),
        Dropout(0.2),
        Flatten(),
        Dense(3),
    ),
    data=drawings,
)
# What such a run draws and keeps beside an ordinary one.
picture_tasks = st.builds(
    lambda rows, more: dataclasses.replace(PICTURES, rows=rows, settings=more),
    st.integers(2, 23),
    st.fixed_dictionaries(
        {
            "augmentation": st.sampled_from([None, Augmentation(rotation=20, shift=1, elastic=3)]),
            "weight_average": st.sampled_from([None, 0.5, 0.99]),
            "label_smoothing": st.sampled_from([0.0, 0.1]),
            "schedule": st.sampled_from([OneCycle(), ThereAndBack()]),
            "early_stopping": st.sampled_from([None, EarlyStopping(1), EarlyStopping(2, "accuracy")]),
            "optimizer": st.sampled_from([AdamW(0.02), SGD(0.1, momentum=0.9)]),
        }
    ),
)


@settings(max_examples=80)
@given(tasks | picture_tasks, st.lists(st.integers(1, 60), max_size=5), st.integers(1, 7))
def test_a_run_that_was_killed_again_and_again_gives_the_bytes_of_an_unbroken_one(task, kills, every):
    weights, history, unbroken = task.fit()
    with tempfile.TemporaryDirectory() as folder:
        for kill in kills:
            task.fit(Path(folder), every=every, end_at=kill)
        mine, my_history, resumed = task.fit(Path(folder), every=every)
    assert mine == weights
    assert my_history == history
    # Whatever was done after the last kill was done as in the unbroken run.
    done = learning(resumed.events)
    assert done == learning(unbroken.events)[len(learning(unbroken.events)) - len(done) :]


@pytest.mark.parametrize("early_stopping", [None, EarlyStopping(3)])
@pytest.mark.parametrize(
    # Number 10 is the checkpoint after the first epoch, when its weights are the best and not apart.
    "killed",
    [("checkpoint", 1, 2, 4), 10, ("checkpoint", 2, 4, 4), ("checkpoint", 3, 1, 4)],
)
def test_ctrl_c_after_a_resume_keeps_what_it_would_have_kept_without_the_kill(
    tmp_path, killed, early_stopping
):
    # After the first epoch its weights are only in the checkpoint.
    task = Task(settings=WORSE | {"early_stopping": early_stopping})
    weights, history, _ = task.fit(end_at=("epoch", 4), with_=KeyboardInterrupt)
    task.fit(tmp_path, end_at=killed)
    mine, my_history, _ = task.fit(tmp_path, end_at=("epoch", 4), with_=KeyboardInterrupt)
    assert (history.ended, history.kept_epoch) == ("interrupted", 1)
    assert (mine, my_history) == (weights, history)


def test_after_ctrl_c_the_run_can_still_be_gone_on_with(tmp_path):
    _, history, watcher = TASK.fit(tmp_path, end_at=("epoch", 2), with_=KeyboardInterrupt)
    assert history.ended == "interrupted"
    assert watcher.events[-1] == ("epoch", 2)
    assert TASK.fit(tmp_path)[:2] == TASK.fit()[:2]


def test_a_resume_after_the_end_returns_at_once_with_the_same_result(tmp_path):
    for patience in (1, 99):
        task = Task(settings=WORSE | {"early_stopping": EarlyStopping(patience)})
        folder = tmp_path / str(patience)
        weights, history, _ = task.fit(folder, every=10**9)
        assert (history.ended, history.kept_epoch) == ("early" if patience == 1 else "completed", 1)
        mine, my_history, watcher = task.fit(folder)
        assert (mine, my_history) == (weights, history)
        assert watcher.events == [("resume", [epoch.number for epoch in history.epochs])]


def test_checkpoints_change_nothing_in_a_run_that_is_not_killed(tmp_path):
    assert TASK.fit(tmp_path)[:2] == TASK.fit()[:2]


# What is told, and when.


def test_callbacks_hear_of_each_checkpoint_after_its_batch_or_epoch(tmp_path):
    task = Task(rows=12, settings={"epochs": 2})
    events = task.fit(tmp_path)[2].events
    assert events == [
        ("batch", 1, 2),
        ("checkpoint", 1, 1, 2),
        ("batch", 2, 2),
        ("checkpoint", 1, 2, 2),
        ("epoch", 1),
        ("checkpoint", 1, 2, 2),
        ("batch", 1, 2),
        ("checkpoint", 2, 1, 2),
        ("batch", 2, 2),
        ("checkpoint", 2, 2, 2),
        ("epoch", 2),
        ("checkpoint", 2, 2, 2),
    ]


def test_a_resumed_run_says_what_it_has_behind_it_before_the_first_batch(tmp_path):
    killed_after(tmp_path, epoch=3, batch=2)
    events = TASK.fit(tmp_path)[2].events
    assert events[:3] == [("resume", [1, 2]), ("batch", 3, 4), ("checkpoint", 3, 3, 4)]


@pytest.mark.parametrize("event", [("batch", 3, 4), ("checkpoint", 1, 3, 4), ("epoch", 1)])
def test_after_a_callback_has_ended_the_run_nothing_more_is_written(tmp_path, event):
    _, _, watcher = TASK.fit(tmp_path, end_at=event)
    written = [event for event in watcher.events if event[0] == "checkpoint"]
    assert max(int(path.name[-8:]) for path in tmp_path.iterdir()) == len(written)


# When one is due.


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(checkpoints_module.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def saved_once(folder, **more):
    """Return checkpoints and what was saved, so that a test can save it once more."""
    checkpoints = Checkpoints(folder, **more)
    checkpoints.bind(FINGERPRINT)
    start = Position(0, 0, 0)
    place = Place(0.0, start, start, None, epoch=1, batch=1, best_epoch=0, ended="")
    given = place, [np.zeros(3, np.float32)]
    checkpoints.save(*given)
    return checkpoints, given


def test_one_is_due_when_its_time_has_come_or_when_it_is_asked_for(tmp_path, clock):
    checkpoints, given = saved_once(tmp_path, every=5)
    assert not checkpoints.is_due()
    clock.now += 4.9
    assert not checkpoints.is_due()
    clock.now += 0.2
    assert checkpoints.is_due()
    checkpoints.save(*given)
    assert not checkpoints.is_due()
    asking = threading.Thread(target=checkpoints.ask)
    asking.start()
    asking.join()
    assert checkpoints.is_due()
    checkpoints.save(*given)
    assert not checkpoints.is_due()


def test_where_saving_takes_long_there_are_ten_times_as_long_between_two(tmp_path, clock, monkeypatch):
    checkpoints, given = saved_once(tmp_path, every=5)
    write = checkpoints_module.replace_file

    def slow(*arguments):
        clock.now += 3
        write(*arguments)

    monkeypatch.setattr(checkpoints_module, "replace_file", slow)
    checkpoints.save(*given)
    clock.now += 29.9
    assert not checkpoints.is_due()
    clock.now += 0.2
    assert checkpoints.is_due()


def test_the_first_one_is_not_due_before_its_time(tmp_path, clock):
    class Ticking(Watcher):
        def on_batch(self, batch, batches, loss):
            self.note("batch", batch, batches)
            clock.now += 1

    task = Task(rows=8, settings={"epochs": 1, "batch_size": 1})
    _, _, watcher = task.fit(tmp_path, seconds=3, watcher=Ticking)
    assert [event[2] for event in watcher.events if event[0] == "checkpoint"] == [3, 6, 8]


# What lies on the disk.


def test_the_newest_two_are_kept_and_nothing_else(tmp_path):
    paths = killed_after(tmp_path, epoch=2)
    assert [path.name for path in paths] == ["checkpoint-00000008", "checkpoint-00000009"]


def test_the_best_weights_are_stored_only_where_they_are_another_epochs(tmp_path):
    task = Task(settings=WORSE)
    sizes = {}
    for epoch, batch in itertools.product((1, 2), (2, 4)):
        folder = tmp_path / f"{epoch}-{batch}"
        sizes[epoch, batch] = killed_after(folder, epoch, batch, task)[-1].stat().st_size
    weights = len(task.fit()[0])
    row = 6 * 8
    assert sizes[1, 2] == sizes[1, 4] == DIGEST_BYTES + HEADER_BYTES + weights
    assert sizes[2, 2] == sizes[2, 4] == sizes[1, 2] + row + weights


def test_drafts_of_a_process_that_was_killed_while_writing_are_removed(tmp_path):
    killed_after(tmp_path, epoch=1)
    (tmp_path / ".draft-checkpoint-00000005-1-1").write_bytes(b"half")
    killed_after(tmp_path, epoch=2)
    assert len(list(tmp_path.iterdir())) == 2


def test_clear_removes_the_checkpoints_and_the_folder_but_nobody_elses_files(tmp_path):
    folder = tmp_path / "run"
    checkpoints = Checkpoints(folder)
    checkpoints.clear()
    assert checkpoints.is_empty()
    killed_after(folder, epoch=1)
    (folder / ".draft-checkpoint-00000005-1-1").touch()
    assert not checkpoints.is_empty()
    checkpoints.clear()
    assert not folder.exists()
    killed_after(folder, epoch=1)
    (folder / "notes.txt").touch()
    checkpoints.clear()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


# Damage.


def resumes_at(events):
    """The epochs behind a run and its first batch; nothing behind it where it began at the beginning."""
    behind = events[0][1] if events[0][0] == "resume" else []
    return len(behind), next(event[1] for event in events if event[0] == "batch")


def flip(data):
    return bytes([*data[:-9], data[-9] ^ 4, *data[-8:]])


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "cut in its header": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "lengthened": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "a bit flipped": lambda path: path.write_bytes(flip(path.read_bytes())),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(os.urandom(9999)),
    "zeros, as after a power cut": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_used(tmp_path, caplog, damage):
    _, newest = killed_after(tmp_path, epoch=2, batch=3)
    damage(newest)
    mine, history, watcher = TASK.fit(tmp_path, every=10**9)
    assert resumes_at(watcher.events) == (1, 3)
    assert (mine, history) == TASK.fit()[:2]
    assert f"the checkpoint {newest} is not used: " in caplog.text


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_where_both_are_damaged_the_run_begins_anew_and_ends_the_same(tmp_path, caplog, damage):
    for path in killed_after(tmp_path, epoch=2, batch=3):
        damage(path)
    mine, history, watcher = TASK.fit(tmp_path, every=10**9)
    assert resumes_at(watcher.events) == (0, 1)
    assert (mine, history) == TASK.fit()[:2]
    assert "holds no checkpoint to go on from: the run begins anew" in caplog.text


@pytest.fixture
def pair(tmp_path):
    """The two checkpoints of a killed run, the newer one after two batches."""
    return [(path, path.read_bytes()) for path in killed_after(tmp_path, epoch=1, batch=2)]


@settings(max_examples=100)
@given(st.data())
def test_no_flipped_bit_goes_unseen(pair, data):
    for path, content in pair:
        path.write_bytes(content)
    newest, content = pair[1][0], bytearray(pair[1][1])
    place = data.draw(st.integers(0, 8 * len(content) - 1))
    content[place // 8] ^= 1 << place % 8
    newest.write_bytes(content)
    assert resumes_at(TASK.fit(newest.parent, end_at=2)[2].events) == (0, 2)


def test_a_damaged_one_is_gone_once_a_newer_one_is_on_disk(tmp_path):
    _, newest = killed_after(tmp_path, epoch=1, batch=3)
    DAMAGE["truncated"](newest)
    TASK.fit(tmp_path, end_at=("checkpoint", 1, 3, 4))
    assert [path.name[-2:] for path in sorted(tmp_path.iterdir())] == ["02", "04"]


def forge(path, change):
    """Change a checkpoint's header and sign the file again, as somebody could who means ill."""
    content = path.read_bytes()
    header = json.loads(content[DIGEST_BYTES : DIGEST_BYTES + HEADER_BYTES])
    header = change(header) or header
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    rest = text.ljust(HEADER_BYTES)[:HEADER_BYTES] + content[DIGEST_BYTES + HEADER_BYTES :]
    path.write_bytes(hashlib.sha256(rest).digest() + rest)


def place_of(**changes):
    return lambda header: header["place"].update(changes)


FORGED = {
    "not JSON": (lambda header: b"{", "its header is wrong: "),
    "not text": (lambda header: b"\xff" * HEADER_BYTES, "its header is wrong: "),
    "nested": (lambda header: b"[" * HEADER_BYTES, "its header is wrong: "),
    "a list": (lambda header: [header], "must be an object"),
    "another format": (lambda header: header.update(format=2), "format: must be ≤ 1, not 2"),
    "no place": (lambda header: header.pop("place") and None, "place: is missing"),
    "one field more": (place_of(pickle="x"), "place.pickle: is not known here"),
    "epoch 0": (place_of(epoch=0), "place.epoch: must be ≥ 1"),
    "a later epoch than there is": (place_of(epoch=5), "epoch 5, batch 3"),
    "a huge epoch": (place_of(epoch=2**62), "epoch 4611686018427387904"),
    "an epoch that has no figures": (place_of(epoch=3), "where the run needs"),
    "a later batch than there is": (place_of(batch=5), "epoch 2, batch 5"),
    "half a batch": (place_of(batch=1.5), "place.batch: must be a whole number"),
    "a best epoch to come": (place_of(best_epoch=2), "best epoch 2"),
    "a total of nothing": (place_of(total=float("nan")), "place.total: must be a finite number"),
    "another end": (place_of(ended="exploded"), "place.ended: must be one of"),
    "too large a state": (
        lambda header: header["place"]["shuffle"].update(state=2**128),
        "place.shuffle.state: must be ≤",
    ),
    "a negative state": (
        lambda header: header["place"]["dropout"].update(uinteger=-1),
        "must be ≥ 0, not -1",
    ),
}


@pytest.mark.parametrize(("change", "why"), FORGED.values(), ids=FORGED)
def test_a_header_that_nobody_wrote_is_refused_though_its_digest_is_right(tmp_path, caplog, change, why):
    _, newest = killed_after(tmp_path, epoch=2, batch=3)
    forge(newest, change)
    mine, history, watcher = TASK.fit(tmp_path, every=10**9)
    assert resumes_at(watcher.events) == (1, 3)
    assert (mine, history) == TASK.fit()[:2]
    assert why in caplog.text


def test_a_file_that_is_larger_than_any_checkpoint_is_not_read(tmp_path, caplog):
    _, newest = killed_after(tmp_path, epoch=2, batch=3)
    os.truncate(newest, 1 << 40)
    assert resumes_at(TASK.fit(tmp_path, every=10**9)[2].events) == (1, 3)
    assert "it has 1,099,511,627,776 bytes" in caplog.text


@pytest.mark.parametrize("layers", [(Dense(5), Tanh(), Dense(4), Dense(3)), (Dense(3),)])
def test_a_checkpoint_of_other_shapes_is_refused(tmp_path, caplog, layers):
    killed_after(tmp_path, epoch=2)
    mine, history, watcher = Task(layers).fit(tmp_path, every=10**9)
    assert resumes_at(watcher.events) == (0, 1)
    assert (mine, history) == Task(layers).fit()[:2]
    assert "where the run needs" in caplog.text


def test_a_checkpoint_of_another_run_is_an_error_that_says_so(tmp_path):
    paths = killed_after(tmp_path, epoch=2)
    with pytest.raises(CheckpointError, match=r"checkpoint-00000009 is of another run: "):
        TASK.fit(tmp_path, fingerprint="f" * 64)
    assert sorted(tmp_path.iterdir()) == paths


def test_checkpoints_that_were_bound_to_no_run_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="bind them to a fingerprint first"):
        TASK.fit(tmp_path, fingerprint="")


# A disk that does not do what it should.


def test_a_disk_that_is_full_for_a_while_does_not_end_the_run(tmp_path, monkeypatch, caplog):
    class FullForAWhile(Watcher):
        def ask(self):
            full = 4 <= self.asked < 7
            monkeypatch.setattr(files.os, "fsync", no_space if full else fsync)
            super().ask()

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    fsync = os.fsync
    mine, history, watcher = TASK.fit(tmp_path, watcher=FullForAWhile)
    assert (mine, history) == TASK.fit()[:2]
    told = [event[0] for event in watcher.events if event[0] in ("checkpoint", "failed")]
    assert told == ["checkpoint"] * 4 + ["failed"] * 3 + ["checkpoint"] * 13
    assert f"no checkpoint could be written to {tmp_path}: [Errno 28] No space left" in caplog.text
    assert all(path.name.startswith("checkpoint-") for path in tmp_path.iterdir())


@pytest.fixture
def small_files():
    """Have the kernel refuse every file of more than 2,100 bytes: a checkpoint's header fits, no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_100, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_half_written_is_removed_and_what_was_there_before_stands(tmp_path, request):
    paths = killed_after(tmp_path, epoch=1)
    before = [path.read_bytes() for path in paths]
    request.getfixturevalue("small_files")
    mine, history, watcher = TASK.fit(tmp_path)
    assert {event for event in watcher.events if event[0] in ("checkpoint", "failed")} == {
        ("failed", errno.EFBIG)
    }
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before
    assert (mine, history) == TASK.fit()[:2]


def test_a_folder_that_cannot_be_made_does_not_end_the_run(tmp_path):
    (tmp_path / "file").touch()
    mine, history, watcher = TASK.fit(tmp_path / "file")
    assert (mine, history) == TASK.fit()[:2]
    assert ("failed", errno.EEXIST) in watcher.events


def test_a_folder_that_was_removed_meanwhile_is_made_anew(tmp_path):
    class Remover(Watcher):
        def on_epoch(self, epoch):
            shutil.rmtree(self.checkpoints.folder)
            super().on_epoch(epoch)

    folder = tmp_path / "deep" / "run"
    _, _, watcher = TASK.fit(folder, watcher=Remover)
    assert ("failed", errno.ENOENT) not in watcher.events
    assert len(list(folder.iterdir())) == 1
