"""`python -m nncore` in a process of its own, whose output a test reads and which it may interrupt."""

import os
import signal
import subprocess
import sys

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
# Longer than anything here may take.
DEADLINE = 30


def start(*arguments, folder):
    """Start a command as a person would, and return the process."""
    return subprocess.Popen(
        [sys.executable, "-m", "nncore", *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT | {"PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has SIGINT ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
