"""Sandbox for model-written programs: run a program against a prompt's tests.

Two containers of one pod, with different UIDs::

    judge (uid 1000)                                runner (uid 2000)
    reads programs and tests, writes verdicts       does not mount the volume
      worker ── control: program, stop ──────────────► handler ── fork ─► candidate
        └ fork ─► test process ◄── calls and plain data ──────────────────► (the program)

The program runs only in the *candidate* process. The tests run in the *test process*, where the program's functions are
proxies: a call sends its arguments and receives the result, both as plain data (``wire``). Both processes are forked,
confined (``confine``) and used once.

Covered:

- Forged verdicts. Patches, exceptions, output and exit codes of a program cannot change the code that judges it. The
  verdict on a result that is not plain data is unknown.
- Resources: CPU time, memory, threads, open files, number and size of files, wall time.
- System calls: no new processes, signals, tracing, sockets, shared memory, links, devices or mounts, and no changes of
  permissions, owners, times and attributes (seccomp). A program that needs `os.chmod` fails with PermissionError.
- Files: reads only Python and the system's libraries, writes only the program's folder (Landlock).
- Network: NetworkPolicy or RuntimeClass of the pod, checked by ``probe`` before the first program.
- Pod: no service account token, read-only root file system, no capabilities, memory and CPU limits.
- Other programs: one that may have been disturbed by another program, the runner or the node is run again alone, and is
  unknown if that happens again.

Not covered:

- Exploits of the kernel. Without an isolating RuntimeClass (gVisor, Kata) programs run on the node's kernel. Set
  ``scheduling.sandboxRuntimeClassName`` for models that you do not trust.
- Kernels without Landlock. The stage fails unless a RuntimeClass is set; then one program runs at a time, and only the
  RuntimeClass protects the files of the runner.
- Network access after the check. ``probe`` runs once per verify process and tries only the API server, gateways, name
  servers, the metadata service and routers beyond the node. The system call filter always denies sockets.
- Side channels between programs that run at the same time, such as CPU caches.
- Programs that know the tests. A program receives the arguments of each call, and may return memorized results.
- Tests. They are trusted: they decide the verdict, and run in the judge's container (confined, without a writable
  folder).
- Architectures other than x86_64 and aarch64: there is no system call filter, so no program is run.
"""
