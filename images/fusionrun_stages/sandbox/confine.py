"""Permanent confinement of the calling process, without privileges: resource limits, seccomp and Landlock.

All programs of a pod have the runner's UID, so the pod cannot protect them from each other. A confined program cannot
signal, trace or read the runner or another program, start processes, open sockets, write outside its folder, or change
permissions, owners, times and attributes of any file.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import site
import struct
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fusionrun_stages.sandbox.system_calls import (
    AUDIT_ARCHITECTURES,
    CLONE,
    CLONE3,
    DENIED,
    DENIED_EVERYWHERE,
    FCNTL,
    FIRST_UNKNOWN,
    IOCTL,
    PRCTL,
)

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 36, 38
ALLOWED_PRCTLS = (15, 16, 0x53564D41)
"""PR_SET_NAME and PR_GET_NAME for threads, and PR_SET_VMA, with which the C library names memory. All other options are
denied: PR_SET_PDEATHSIG would let a program outlive the runner. Source: linux/prctl.h."""
M_ARENA_MAX = -8
"""Source: malloc.h."""
SECCOMP_MODE_FILTER = 2
CLONE_THREAD = 0x10000
X32_SYSCALL_BIT = 0x40000000

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""numpy starts one thread per CPU of the node when it is imported, each with a stack and buffers. On a large node they
would exceed the limits of threads and memory."""

_ALLOW, _DENY, _ABSENT = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH = 0, 4
_OFFSET_ARGUMENTS = (16, 24, 32)
"""Offsets of the lower halves of a call's first arguments on a little-endian machine. Source: linux/seccomp.h."""

_F_SETFL, _O_ASYNC = 4, 0o20000
_SIGNALLING_FCNTLS = (8, 10, 15)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX: the kernel sends signals to the owner of a descriptor, which may be any process.
Source: linux/include/uapi/asm-generic/fcntl.h."""
_SIGNALLING_IOCTLS = (0x5452, 0x8901, 0x8902)
"""FIOASYNC, FIOSETOWN, SIOCSPGRP: the same as ioctls. Source: asm-generic/ioctls.h, asm-generic/sockios.h."""

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_SPECIAL = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12
"""Character device, socket, FIFO, block device and symbolic link. Source: linux/landlock.h."""
_FILE_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_ABI_NETWORK, _ABI_SCOPE = 4, 6

_INSTRUCTION = struct.Struct("=HBBI")
_libc = ctypes.CDLL(None, use_errno=True)
_Step = tuple[int, int, int, int]
"""Code, jump if true, jump if false, value. Source: linux/filter.h, struct sock_filter."""


@dataclass(frozen=True)
class ResourceLimits:
    """Limits of a confined process."""

    cpu_seconds: int
    memory_bytes: int
    """Address space in addition to that of the process when it is confined."""
    file_bytes: int
    """Maximum size of a file that it writes."""
    open_files: int = 32
    processes: int = 1024
    """Threads, since the filter denies new processes. RLIMIT_NPROC counts all threads of this UID on the node, so the
    limit must allow for other sandboxes."""
    landlock_optional: bool = False
    """Whether to run on a kernel without Landlock: only if a RuntimeClass isolates the pod."""


def confine(limits: ResourceLimits, folder: Path | None) -> None:
    """Confine this process permanently, with all its new threads. It may write only to ``folder``, if given.

    Raise OSError if the filter cannot be installed, or Landlock is required and missing. The caller must not run a
    program then.
    """
    _set_environment(folder)
    _set_limits(limits)
    # By default each thread reserves address space for an arena: 512 MiB would allow seven threads.
    _libc.mallopt(M_ARENA_MAX, 1)
    _prctl(PR_SET_DUMPABLE, 0)  # root owns /proc/<pid>/{mem,environ,fd} from here on
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _restrict_files(folder, optional=limits.landlock_optional)
    _filter_system_calls()


def forbid_tracing() -> None:
    """Forbid other processes of this UID to read or trace this process."""
    _prctl(PR_SET_DUMPABLE, 0)


def end_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose parent ends."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def address_space_bytes() -> int:
    """Return the size of this process's address space."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def _set_environment(folder: Path | None) -> None:
    """Limit the threads of numeric libraries; make temporary files in the only writable folder."""
    os.environ |= ONE_THREAD
    tempfile.tempdir = None  # the runner's, if it has made a temporary file
    if folder is not None:
        os.environ["TMPDIR"] = str(folder)


def _set_limits(limits: ResourceLimits) -> None:
    memory = address_space_bytes() + limits.memory_bytes
    for kind, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        # A program can ignore SIGXCPU (soft limit), not SIGKILL (hard limit).
        (resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1),
        (resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
        (resource.RLIMIT_NPROC, limits.processes, limits.processes),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    ):
        maximum = resource.getrlimit(kind)[1]
        if maximum != resource.RLIM_INFINITY:
            soft, hard = min(soft, maximum), min(hard, maximum)  # noqa: PLW2901
        resource.setrlimit(kind, (soft, hard))


def build_filter(machine: str) -> list[_Step]:
    """Return the seccomp filter of an architecture."""
    first, second, third = _OFFSET_ARGUMENTS
    steps = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_EQUAL, 1, 0, AUDIT_ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _DENY),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
        (_AT_LEAST, 0, 1, X32_SYSCALL_BIT),
        (_RETURN, 0, 0, _DENY),
        (_AT_LEAST, 0, 1, FIRST_UNKNOWN),
        (_RETURN, 0, 0, _ABSENT),
        (_EQUAL, 0, 1, CLONE3),  # a filter cannot read its flags; the C library falls back to clone
        (_RETURN, 0, 0, _ABSENT),
    ]
    steps += _deny((*DENIED[machine].values(), *DENIED_EVERYWHERE.values()))
    # Allow threads, deny processes.
    steps += _check_arguments(CLONE[machine], [
        (_LOAD, 0, 0, first), (_ANY_BIT, 1, 0, CLONE_THREAD), (_RETURN, 0, 0, _DENY),
    ])  # fmt: skip
    steps += _check_arguments(PRCTL[machine], [
        (_LOAD, 0, 0, first),
        *(step for option in ALLOWED_PRCTLS for step in ((_EQUAL, 0, 1, option), (_RETURN, 0, 0, _ALLOW))),
        (_RETURN, 0, 0, _DENY),
    ])  # fmt: skip
    steps += _check_arguments(IOCTL[machine], [(_LOAD, 0, 0, second), *_deny(_SIGNALLING_IOCTLS)])
    steps += _check_arguments(FCNTL[machine], [
        (_LOAD, 0, 0, second), *_deny(_SIGNALLING_FCNTLS),
        (_EQUAL, 0, 3, _F_SETFL), (_LOAD, 0, 0, third), (_ANY_BIT, 0, 1, _O_ASYNC), (_RETURN, 0, 0, _DENY),
    ])  # fmt: skip
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def _filter_system_calls() -> None:
    machine = platform.machine()
    if machine not in _FILTERS:
        raise OSError(errno.ENOSYS, f"no system call filter for {machine}: programs cannot be run on this node")
    instructions = _FILTERS[machine]
    code = ctypes.create_string_buffer(instructions, len(instructions))
    program = struct.pack("@HP", len(instructions) // _INSTRUCTION.size, ctypes.addressof(code))
    buffer = ctypes.create_string_buffer(program)
    _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(buffer))


def _deny(values: Iterable[int]) -> list[_Step]:
    """Deny the call if the loaded value is one of these."""
    return [step for value in values for step in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, _DENY))]


def _check_arguments(number: int, steps: list[_Step]) -> list[_Step]:
    """Apply the steps to the arguments of one call; allow the call if no step denies it."""
    inside = [*steps, (_RETURN, 0, 0, _ALLOW)]
    return [(_EQUAL, 0, len(inside), number), *inside]


def landlock_version() -> int:
    """Return the kernel's version of Landlock; 0 if it is not available to this process."""
    return max(0, int(_libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def _restrict_files(folder: Path | None, *, optional: bool) -> None:
    """Allow reading Python and the system's libraries, and writing below one folder.

    Source: linux/Documentation/userspace-api/landlock.rst.
    """
    abi = landlock_version()
    if abi < 1:
        if optional:
            return
        raise OSError(errno.ENOSYS, "the kernel has no Landlock: a program could write to the files of other programs")
    rights = _FILE_RIGHTS_BY_ABI[min(abi, max(_FILE_RIGHTS_BY_ABI))]
    network = 3 if abi >= _ABI_NETWORK else 0
    scope = 3 if abi >= _ABI_SCOPE else 0
    attributes = struct.pack("=QQQ", rights, network, scope)[: 8 + 8 * (abi >= _ABI_NETWORK) + 8 * (abi >= _ABI_SCOPE)]
    ruleset = _libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    _check(ruleset)
    allowed = dict.fromkeys(_READABLE, _EXECUTE | _READ_FILE | _READ_DIR)
    allowed |= {"/dev/null": _READ_FILE | _WRITE_FILE, "/dev/urandom": _READ_FILE, "/dev/zero": _READ_FILE}
    if folder is not None:
        allowed[str(folder)] = rights & ~_MAKE_SPECIAL
    for path, access in allowed.items():
        _allow(ruleset, path, access)
    _check(_libc.syscall(_LANDLOCK_RESTRICT, ruleset, ctypes.c_uint32(0)))
    os.close(ruleset)


def readable_paths() -> set[str]:
    """Return what a program may read: the system's libraries, and Python with its installed packages.

    Not ``sys.path``: `python -m` puts the working directory there, which may be ``/``.
    """
    python = {sys.prefix, sys.base_prefix, *site.getsitepackages()}
    python |= {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return {"/usr", "/lib", "/lib64", "/opt", "/etc/localtime", *python}


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not Path(path).is_dir():
        access &= _EXECUTE | _WRITE_FILE | _READ_FILE
    rule = struct.pack("=Qi", access, descriptor)
    _check(_libc.syscall(_LANDLOCK_ADD, ruleset, ctypes.c_int(1), rule, ctypes.c_uint32(0)))
    os.close(descriptor)


def _prctl(option: int, argument: int, second: int = 0) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(second), ctypes.c_ulong(0), ctypes.c_ulong(0)))


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


# Once per process, not once per program.
_READABLE = readable_paths()
_FILTERS = {machine: b"".join(_INSTRUCTION.pack(*step) for step in build_filter(machine)) for machine in DENIED}
