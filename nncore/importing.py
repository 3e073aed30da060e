"""A process that reads somebody's data and stores them as a dataset: `python -m nncore.importing TASK`.

A process of its own, since the files may be hostile: it has a bound on its memory, can be ended at any time,
and whatever becomes of it, who waits for it goes on. It ends with one line of JSON on its standard output.
"""

import json
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from nncore.config import from_json, number, tagged, to_json
from nncore.datasets.loading import load_dataset
from nncore.datasets.sources import SOURCES, Source
from nncore.datasets.stored import write_stored
from nncore.datasets.summary import summarize
from nncore.errors import NNCoreError
from nncore.starter import starter


@dataclass(frozen=True)
class Task:
    """What is read, and the folder that it becomes; `memory` is how many bytes the process may take."""

    folder: str
    memory: int = number(minimum=1)
    nice: int = number(minimum=0, maximum=19)
    source: Source = tagged(SOURCES)


def main(arguments: Sequence[str]) -> int:
    """Carry out the task, a JSON object; return the exit code."""
    try:
        task = from_json(Task, json.loads(arguments[0]))
        os.nice(task.nice)
        resource.setrlimit(resource.RLIMIT_AS, (task.memory, task.memory))
        with threadpool_limits(1, user_api="blas"):
            _tell(**_import(task))
    except NNCoreError as error:
        _tell(error=str(error))
        return 1
    except OSError as error:
        _tell(error=f"cannot be kept: {error.strerror}", errno=error.errno)
        return 1
    except MemoryError:
        _tell(error=f"takes more than the {task.memory:,} bytes of memory that reading it may take")
        return 1
    return 0


def _import(task: Task) -> dict[str, Any]:
    dataset = load_dataset(task.source)
    about = summarize(dataset)
    folder = Path(task.folder)
    write_stored(dataset, folder, about | {"recipe": to_json(starter(dataset, task.source))})
    return {"sha256": dataset.sha256}


def _tell(**said: Any) -> None:
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
