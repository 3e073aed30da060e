"""What every test runs under: one BLAS thread, and property tests that are the same on every run."""

import os

from hypothesis import HealthCheck, settings

# As in the service and the command line, and before anything imports NumPy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

settings.register_profile(
    "nnserve",
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("nnserve")
