"""How many connections a worker may have, beside the files that it needs."""

import resource

CONNECTIONS = 1000
# For the database, models, counters and pipes, in each of the threads.
FILES = 200


def make_room() -> int:
    """Have the system allow a process as many connections and files; return how many connections it does.

    A worker that may open no more could not accept a connection, and would end: with the usual limit of 1,024
    a thousand clients would see to that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most - FILES
