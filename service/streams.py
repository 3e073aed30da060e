"""Server-sent events: what became of a job, as it happens.

Format: the HTML standard's "Server-sent events", https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import time
from collections.abc import Iterator

from service import codec
from service.jobs.job import STATE, Event, Job
from service.jobs.ledger import Ledger, is_over
from service.stopping import stopping

# Between two looks into the table; a watcher sees an epoch at most that much later.
LOOK_SECONDS = 0.25
# So that both ends learn of it when the other has gone.
HEARTBEAT_SECONDS = 5.0
# A stream holds a thread; whoever wants to see more comes again, and misses nothing.
LONGEST_SECONDS = 300.0


def stream(ledger: Ledger, job: Job, after: int) -> Iterator[bytes]:
    """Yield a job's events after a number until the job has ended, or the stream has lasted long enough."""
    began = beat = time.monotonic()
    yield b": events of a training job\nretry: 1000\n\n"
    while True:
        job, events = ledger.events(job, after)
        for event in events:
            after = event.number
            yield _frame(event)
        now = time.monotonic()
        if events:
            beat = now
            continue
        if is_over(job):
            if after < job.events:
                # Its events were tidied away; how it ended is known still.
                end = {"state": job.state, "result": job.result, "error": job.error}
                yield _frame(Event(job.events, STATE, end, job.ended or 0.0))
            return
        if now - began > LONGEST_SECONDS or stopping.wait(LOOK_SECONDS):
            return
        if now - beat > HEARTBEAT_SECONDS:
            beat = now
            yield b": heartbeat\n\n"


def _frame(event: Event) -> bytes:
    data = codec.dumps(event.data | {"time": round(event.time, 3)})
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.number, event.kind.encode(), data)
