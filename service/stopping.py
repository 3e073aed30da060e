"""Whether this process is about to end: what would last longer than a request looks here."""

import threading

stopping = threading.Event()
