"""Reading what somebody has sent, in a process that has a bound on its memory and its time."""

import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from nncore.config import to_json
from nncore.datasets import SOURCES, Source
from service.dataset_forms import FILE, PAIR, options_of
from service.problems import Busy, FieldError, Invalid, OutOfSpace
from service.receiving import FULL
from service.schemas import pointer_to
from service.settings import PREFIX, Settings

# Bytes of a task: Linux takes an argument of 128 KiB.
MOST_TASK = 100_000
# Of what a process that went wrong has said, for the log.
MOST_LOGGED = 4000

logger = logging.getLogger(__name__)


def import_dataset(source: Source, folder: Path, settings: Settings) -> None:
    """Read a source and write it as a dataset into a folder, which must be there and empty.

    Raises Invalid, with a pointer to the field, where it cannot be learned from or takes more memory or time
    than it may; Busy where the process was killed by somebody else.
    """
    task = {
        "folder": str(folder),
        "memory": settings.max_dataset_memory,
        "nice": settings.trainer_nice,
        "source": {"type": _type_of(source)} | to_json(source),
    }
    text = json.dumps(task, ensure_ascii=False)
    if len(text.encode()) > MOST_TASK:
        raise Invalid([FieldError("#", f"the options have more than {MOST_TASK:,} bytes together")])
    status, said, complaint = _run(text, settings.max_dataset_seconds)
    if status is None:
        seconds = settings.max_dataset_seconds
        raise _invalid(source, f"reading it takes more than the {seconds} seconds that it may take")
    if status in (-signal.SIGKILL, -signal.SIGTERM):
        raise Busy(f"Reading it was ended from outside, by signal {-status}. Try again.")
    if status < 0:
        raise _invalid(source, f"is damaged in a way that ends who reads it, with signal {-status}")
    if said.get("errno") in FULL:
        raise OutOfSpace("The disk is full.")
    if "error" in said:
        raise _invalid(source, said["error"])
    if status or "sha256" not in said:
        logger.error("reading a dataset went wrong:\n%s", complaint)
        raise RuntimeError("reading a dataset went wrong")


def _run(task: str, seconds: int) -> tuple[int | None, dict[str, Any], str]:
    """Return the exit status, None where it took too long, the last line as JSON, and what was complained."""
    command = [sys.executable, "-m", "nncore.importing", task]
    # Who reads what a stranger has sent is told no secrets.
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment = plain | {"OPENBLAS_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe) as child:  # noqa: S603
        # Also where this process is killed, and nobody looks at the clock any more.
        resource.prlimit(child.pid, resource.RLIMIT_CPU, (seconds + 1, seconds + 1))
        try:
            output, complaint = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            return None, {}, ""
    try:
        said = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        said = {}
    return child.returncode, said, complaint.decode(errors="replace")[-MOST_LOGGED:]


def _type_of(source: Source) -> str:
    return next(name for name, kind in SOURCES.items() if kind is type(source))


def _invalid(source: Source, error: str) -> Invalid:
    """Return what is wrong with a source and in which field, and not where on this machine it lies."""
    paths = {field: Path(getattr(source, field)) for field in type(source).PATHS}
    for path in paths.values():
        error = error.replace(f"{path.parent}/", "")
    # An error of an option begins with its name, or has it behind that of the file.
    option = re.match(r"(?:[^:]*: )?([a-z]+): (.*)", error, re.DOTALL)
    if option and option[1] in options_of(type(source)):
        return Invalid([FieldError(pointer_to(option[1]), option[2])])
    field = next((name for name, path in paths.items() if error.startswith(path.name)), next(iter(paths)))
    return Invalid([FieldError(pointer_to(FILE if field not in PAIR else field), error)])
