"""Run programs that a model wrote, against tests that it must not touch.

Two containers of one pod, each under a UID of its own::

    judge (uid 1000)                                runner (uid 2000)
    reads programs and tests, writes verdicts       never sees the volume
      worker ── control: program, stop ──────────────► handler ── fork ─► candidate
        └ fork ─► test process ◄── calls and plain data ──────────────────► (the program)

The program lives in the *candidate* process alone. The tests run in the *test process*, where the program's functions
are proxies: a call sends its arguments and gets the result back, both as plain data (``wire``). So nothing that a
program patches, raises, ends or prints reaches the code that judges it, and a result that is no plain data can never
be equal to anything. Both processes are forked, limited and confined (``confine``), and used once.

The pod adds its own walls: no network (proved by ``probe`` before the first test), no service account, a root file
system that cannot be written, no capabilities, memory and CPU limits.
"""
