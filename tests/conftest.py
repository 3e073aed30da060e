"""What every test runs under: one BLAS thread, and property tests that are the same on every run."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

# As in the service and the command line, and before anything imports NumPy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# What one process has compiled is kept for the next, also where the environment, as of many an image, says
# otherwise: the tests start hundreds, and to compile takes each of them a tenth of its time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile(
    "nnserve",
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("nnserve")


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: many tests wait, for leases to expire or processes to end."""
    return 1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take long, those of whole services: so all processes are busy to the end."""
    items.sort(key=lambda item: "nncore" in item.path.parts)
