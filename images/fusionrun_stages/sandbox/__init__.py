"""Sandbox for model-written programs: run a program against a prompt's tests.

Two containers of one pod, with different UIDs::

    judge (uid 1000)                                runner (uid 2000)
    reads programs and tests, writes verdicts       does not mount the volume
      worker ── control: start, stop ────────────────► handler ── fork ─► candidate
        └ fork ─► test process ◄── program, calls, plain data ────────────► (the program)

The program runs only in the *candidate* process. The tests run in the *test process*, where the program's functions are
proxies: a call sends its arguments and receives the result, both as plain data (``values``). Both processes are forked,
confined (``confine``) and used once.

Verdicts are those of plain Python in one process, or unknown:

- The run with proxies (``harness``) is the only way to a right verdict. Values of the standard library's classes,
  named tuples, arguments changed in place, module variables and exceptions of builtin classes arrive as they are.
- If a test fails, and something was exchanged that a proxy may show otherwise (objects, caught exceptions, errors of
  library classes, subclasses, changed arguments, patched or captured streams, ...), program and tests run once more
  together in one candidate (``together``). Its word is not trusted: if the tests pass there, the verdict is unknown
  instead of wrong.
- If all tests pass, but a value had another class, was an iterator (its first items are sent with the result), or the
  program kept a container that the tests have, too, they must pass together as well, or the verdict is unknown.
- If a call changed an argument, and a test compares with something that may derive from an argument or from the
  program (``dataflow``), the tests must also pass without the change. A program could otherwise empty the list from
  which a test computes the expected value.
- A prompt's preamble runs in both processes. Instances of its plain classes are sent by value, and the tests use their
  own copy of its code. If the program defines one of its names again, the tests must also pass together, or the verdict
  is unknown.
- A program does not judge itself: with an entry point, the tests get only this name of it. Without one, they get the
  names that they use and that nothing else defines; one of them may not decide on the result of another.

Benchmarks with rules of their own (``Judge.check``) call the program in the same way, and compare its results in the
test process. They limit the CPU time of each call. A program can lift this limit, and then has the time of all calls.

Covered:

- Forged verdicts. Patches, exceptions, output and exit codes of a program cannot change the code that judges it. The
  verdict on a result that is not plain data is unknown.
- Resources: CPU time, memory, threads, open files, number and size of files, wall time.
- System calls: no new processes, signals, tracing, sockets, shared memory, links, devices or mounts, and no changes of
  permissions, owners, times and attributes (seccomp). A program that needs `os.chmod` fails with PermissionError; its
  verdict is unknown.
- Files: reads only Python and the system's libraries, writes only the program's folder (Landlock).
- Network: NetworkPolicy or RuntimeClass of the pod, checked by ``probe`` before the first program.
- Pod: no service account token, read-only root file system, no capabilities, memory and CPU limits.
- Texts of other programs: a program comes through its own channel after its process is confined, so the runner, whose
  memory its process inherits, never has one.
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
- Identity and state that only one process shows, in tests that pass with proxies: an argument that the program keeps
  inside another of its arguments, methods of a named tuple, ``hasattr`` of special methods.
- Programs that make their verdict unknown: any program can. Unknown is never a side of a pair, and evaluation counts it
  as wrong. A program that sleeps holds its place for 30 s.
- Weak tests. If plain Python lets a wrong program pass, so does the sandbox, except for the rules above.
- Tests. They are trusted: they decide the verdict, and run in the judge's container (confined, without a writable
  folder).
- Architectures other than x86_64 and aarch64: there is no system call filter, so no program is run.
"""
