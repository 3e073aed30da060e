"""Calls to a running service and what comes back, on `requests` alone; `service.client` is the way in."""
