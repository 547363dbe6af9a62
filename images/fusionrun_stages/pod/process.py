"""Memory and open files of this process."""

import resource

OPEN_FILES = 2**16
"""No stage needs more; some libraries loop over all possible descriptors."""


def raise_open_files() -> None:
    """Allow as many open files as the hard limit does, up to ``OPEN_FILES``.

    A soft limit of 1,024 is containerd's default; ``generate`` alone may have 4,096 requests in flight.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def peak_memory_bytes() -> int:
    """Return the largest resident memory of this process and of its finished children, in bytes.

    It is not their sum, since a forked child shares memory with its parent.
    """
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(usage.ru_maxrss for usage in usages) * 1024  # KiB on Linux (getrusage(2))
