"""Paths, environment variables and sizes that the operator and the two containers of the sandbox share.

The judge runs a fixed number of programs at a time, and the runner has resources for them. With more programs, a
correct program could exceed its time limit.
"""

SOCKET_DIRECTORY = "/run/sandbox"
SOCKET = f"{SOCKET_DIRECTORY}/runner.sock"
PROGRAMS_DIRECTORY = "/programs"
"""In the runner. Each subdirectory (``0``, ``1``, …) is a separate file system, so that no program can fill another."""

PROGRAMS_AT_ONCE_ENV = "FUSIONRUN_SANDBOX_PROGRAMS"
RUNTIME_CLASS_ENV = "FUSIONRUN_SANDBOX_RUNTIME_CLASS"
"""RuntimeClass of the judge's pod, if it isolates programs from the node. Only a pod with one may run without
Landlock."""

PROGRAMS_AT_ONCE = 2
"""One CPU each: at least 20 programs per second."""
PROGRAM_MEMORY_BYTES = 512 * 2**20
PROGRAM_FOLDER_BYTES = 32 * 2**20
"""The folder is in memory, too."""
RUNNER_OWN_BYTES = 448 * 2**20
"""Python, one handler per program, and kernel memory for the files, threads and pages of the programs."""
TESTS_MEMORY_BYTES = 256 * 2**20
"""Per program: the judge runs its tests in a separate process."""
JUDGE_OWN_BYTES = 512 * 2**20
