import subprocess
import sys

import pytest

SCRIPT = """
import resource
import numpy as np
from nncore.allocation import keep_freed_memory
{call}
def step():
    # What a layer's forward and backward pass make and free.
    arrays = [np.ones(2_000_000, np.float32) for _ in range(4)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call):
    """Return how often the kernel had to find a page, once all has been used before."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(call=call)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is glibc that is told")
def test_what_was_freed_is_not_fetched_from_the_kernel_again():
    kept = faults("keep_freed_memory()")
    assert kept < 1000
    assert faults("") > 2 * kept
