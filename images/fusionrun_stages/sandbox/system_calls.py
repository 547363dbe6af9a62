"""System calls that a confined program is denied, by their numbers.

A deny-list, since programs use whatever Python and its packages use; the pod's RuntimeDefault profile, which is an
allow-list, applies as well. Calls that this list does not know are absent for a program (``FIRST_UNKNOWN``): libraries
then use the older call.
"""

AUDIT_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Source: linux/include/uapi/linux/audit.h."""

CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
FCNTL = {"x86_64": 72, "aarch64": 25}
IOCTL = {"x86_64": 16, "aarch64": 29}
PRCTL = {"x86_64": 157, "aarch64": 167}
"""Denied by their arguments (confine.py)."""

DENIED = {
    # Source: linux/arch/x86/entry/syscalls/syscall_64.tbl.
    "x86_64": {
        # Signals and other processes.
        "kill": 62, "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297,
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
        "migrate_pages": 256, "move_pages": 279,
        # New processes and namespaces.
        "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "unshare": 272, "setns": 308, "personality": 135,
        # Network.
        "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "socketpair": 53, "accept4": 288,
        # Limits and priorities.
        "prlimit64": 302, "setrlimit": 160, "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144,
        "sched_setaffinity": 203, "sched_setattr": 314, "ioprio_set": 251,
        # Memory and events outside of the limits, or shared with other programs.
        "shmget": 29, "shmat": 30, "semget": 64, "msgget": 68, "mq_open": 240, "memfd_create": 319, "io_setup": 206,
        "inotify_init": 253, "inotify_init1": 294, "inotify_add_watch": 254, "fanotify_init": 300, "fanotify_mark": 301,
        # Landlock covers no owners, permissions, times and attributes: the runner's socket has the program's UID.
        "chmod": 90, "fchmod": 91, "fchmodat": 268, "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260,
        "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280,
        "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198,
        "fremovexattr": 199,
        # Special files and links.
        "link": 86, "linkat": 265, "symlink": 88, "symlinkat": 266, "mknod": 133, "mknodat": 259,
        # The node.
        "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "sync": 162, "syncfs": 306, "syslog": 103,
        "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
        "open_by_handle_at": 304,
    },
    # Source: linux/include/uapi/asm-generic/unistd.h. The architecture lacks fork, chmod, link, utime, …
    "aarch64": {
        "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240,
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
        "migrate_pages": 238, "move_pages": 239,
        "execve": 221, "execveat": 281, "unshare": 97, "setns": 268, "personality": 92,
        "socket": 198, "socketpair": 199, "bind": 200, "listen": 201, "accept": 202, "connect": 203, "accept4": 242,
        "prlimit64": 261, "setrlimit": 164, "setpriority": 140, "sched_setparam": 118, "sched_setscheduler": 119,
        "sched_setaffinity": 122, "sched_setattr": 274, "ioprio_set": 30,
        "shmget": 194, "shmat": 196, "semget": 190, "msgget": 186, "mq_open": 180, "memfd_create": 279, "io_setup": 0,
        "inotify_init1": 26, "inotify_add_watch": 27, "fanotify_init": 262, "fanotify_mark": 263,
        "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "utimensat": 88,
        "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16,
        "linkat": 37, "symlinkat": 36, "mknodat": 33,
        "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "sync": 81, "syncfs": 267, "syslog": 116,
        "add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282,
        "open_by_handle_at": 265,
    },
}  # fmt: skip

DENIED_EVERYWHERE = {
    "pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440, "process_mrelease": 448,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "memfd_secret": 447,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "mount_setattr": 442, "statmount": 457, "listmount": 458, "open_tree_attr": 467,
    "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "file_setattr": 469,
}  # fmt: skip
"""Since Linux 5.1 every architecture has the same numbers. Source: linux/scripts/syscall.tbl, Linux 6.18."""
FIRST_UNKNOWN = 470
"""The first number without a call in Linux 6.18."""
