"""Confine the calling process for good, without any privilege: limits, a system call filter, and Landlock.

What the pod cannot do, since all programs share the runner's UID there: a program must not signal, trace or read the
runner or its neighbours, start processes, open sockets, or write outside its own folder.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 4, 22, 36, 38
SECCOMP_MODE_FILTER = 2
CLONE_THREAD = 0x10000
X32_SYSCALL_BIT = 0x40000000

_ALLOW, _REFUSE, _ABSENT = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_FLAGS = 0, 4, 16

_SYSTEM_CALLS = {
    # Source: linux/arch/x86/entry/syscalls/syscall_64.tbl; AUDIT_ARCH_X86_64.
    "x86_64": (0xC000003E, 56, {
        "kill": 62, "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297,
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
        "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "unshare": 272, "setns": 308,
        "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "socketpair": 53, "accept4": 288,
        "prlimit64": 302, "setrlimit": 160, "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144,
        "sched_setaffinity": 203, "sched_setattr": 314, "ioprio_set": 251,
        "shmget": 29, "shmat": 30, "semget": 64, "msgget": 68, "mq_open": 240, "memfd_create": 319,
        "link": 86, "linkat": 265, "symlink": 88, "symlinkat": 266, "mknod": 133, "mknodat": 259,
        "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "add_key": 248, "request_key": 249,
        "keyctl": 250, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "open_by_handle_at": 304,
    }),
    # Source: linux/include/uapi/asm-generic/unistd.h; AUDIT_ARCH_AARCH64.
    "aarch64": (0xC00000B7, 220, {
        "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240,
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
        "execve": 221, "execveat": 281, "unshare": 97, "setns": 268,
        "socket": 198, "socketpair": 199, "bind": 200, "listen": 201, "accept": 202, "connect": 203, "accept4": 242,
        "prlimit64": 261, "setrlimit": 164, "setpriority": 140, "sched_setparam": 118, "sched_setscheduler": 119,
        "sched_setaffinity": 122, "sched_setattr": 274, "ioprio_set": 30,
        "shmget": 194, "shmat": 196, "semget": 190, "msgget": 186, "mq_open": 180, "memfd_create": 279,
        "linkat": 37, "symlinkat": 36, "mknodat": 33,
        "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "add_key": 217, "request_key": 218,
        "keyctl": 219, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "open_by_handle_at": 265,
    }),
}  # fmt: skip
# The same numbers on every architecture: pidfd_send_signal, io_uring (three), pidfd_open, pidfd_getfd, process_madvise.
_COMMON_CALLS = (424, 425, 426, 427, 434, 438, 440)
_CLONE3 = 435

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_SPECIAL = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12
"""Character device, socket, FIFO, block device and symbolic link. Source: linux/landlock.h."""
_FILE_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_ABI_NETWORK, _ABI_SCOPE = 4, 6

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Limits:
    """What a process may use."""

    cpu_seconds: int
    memory_bytes: int
    """Address space beyond what the process has when it is confined."""
    file_bytes: int
    """Longest file that it may write."""
    open_files: int = 32
    processes: int = 64
    """Threads of this UID: all that is left of RLIMIT_NPROC's use, since the filter lets no process start."""


def confine(limits: Limits, folder: Path | None) -> None:
    """Confine this process: it cannot be undone, and every thread it starts inherits it.

    Parameters
    ----------
    folder
        The one place where it may write; None for none.

    Raises
    ------
    OSError
        If the filter cannot be installed: then nothing must be run.
    """
    _limit(limits)
    _prctl(PR_SET_DUMPABLE, 0)  # /proc/<pid>/{mem,environ,fd} belong to root from now on
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _restrict_files(folder)
    _filter_system_calls()


def hide() -> None:
    """Keep other processes of this UID from reading or tracing this one."""
    _prctl(PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def address_space_bytes() -> int:
    """Return the size of this process's address space."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def _limit(limits: Limits) -> None:
    memory = address_space_bytes() + limits.memory_bytes
    for what, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        # The soft limit's SIGXCPU can be ignored, the hard one's SIGKILL cannot.
        (resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1),
        (resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
        (resource.RLIMIT_NPROC, limits.processes, limits.processes),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    ):
        most = resource.getrlimit(what)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)  # noqa: PLW2901
        resource.setrlimit(what, (soft, hard))


def _filter_system_calls() -> None:
    machine = platform.machine()
    if machine not in _SYSTEM_CALLS:
        raise OSError(errno.ENOSYS, f"no system call filter is known for {machine}: programs cannot be run here")
    arch, clone, refused = _SYSTEM_CALLS[machine]
    steps = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
        (_AT_LEAST, 0, 1, X32_SYSCALL_BIT),
        (_RETURN, 0, 0, _REFUSE),
        (_EQUAL, 0, 1, _CLONE3),  # its flags cannot be seen here: the C library falls back to clone
        (_RETURN, 0, 0, _ABSENT),
    ]
    for number in (*refused.values(), *_COMMON_CALLS):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    steps += [
        (_EQUAL, 0, 3, clone),  # a thread may start, a process may not
        (_LOAD, 0, 0, _OFFSET_FLAGS),
        (_ANY_BIT, 1, 0, CLONE_THREAD),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    buffer = ctypes.create_string_buffer(program)
    _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(buffer))


def _restrict_files(folder: Path | None) -> None:
    """Allow reading of Python and the system's libraries, and writing below one folder; nothing where it is absent.

    Source: linux/Documentation/userspace-api/landlock.rst.
    """
    abi = _libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if abi < 1:
        return
    rights = _FILE_RIGHTS_BY_ABI[min(abi, max(_FILE_RIGHTS_BY_ABI))]
    network = 3 if abi >= _ABI_NETWORK else 0
    scope = 3 if abi >= _ABI_SCOPE else 0
    attributes = struct.pack("=QQQ", rights, network, scope)[: 8 + 8 * (abi >= _ABI_NETWORK) + 8 * (abi >= _ABI_SCOPE)]
    ruleset = _libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if ruleset < 0:
        return
    readable = {"/usr", "/lib", "/lib64", "/opt", "/etc/localtime", sys.prefix, sys.base_prefix, *sys.path}
    allowed = dict.fromkeys(readable, _EXECUTE | _READ_FILE | _READ_DIR)
    allowed |= {"/dev/null": _READ_FILE | _WRITE_FILE, "/dev/urandom": _READ_FILE, "/dev/zero": _READ_FILE}
    if folder is not None:
        allowed[str(folder)] = rights & ~_MAKE_SPECIAL
    for path, access in allowed.items():
        _allow(ruleset, path, access)
    _check(_libc.syscall(_LANDLOCK_RESTRICT, ruleset, ctypes.c_uint32(0)))
    os.close(ruleset)


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
