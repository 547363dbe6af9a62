"""What the operator and the sandbox's two containers must agree on: where things lie, and how much there is of each.

The judge runs as many programs at once as the runner has room for, whatever the node has: a program that its neighbours
starve would be called wrong for nothing of its own.
"""

SOCKET_DIRECTORY = "/run/sandbox"
SOCKET = f"{SOCKET_DIRECTORY}/runner.sock"
PROGRAMS_DIRECTORY = "/programs"
"""In the runner: ``0``, ``1``, … below it are one file system each, so that no program fills a neighbour's."""

PROGRAMS_AT_ONCE_ENV = "FUSIONRUN_SANDBOX_PROGRAMS"
RUNTIME_CLASS_ENV = "FUSIONRUN_SANDBOX_RUNTIME_CLASS"
"""Names the judge's RuntimeClass where the run has one: only such a pod may do without Landlock."""

PROGRAMS_AT_ONCE = 2
"""Each with a CPU of its own: 20 programs a second and more."""
PROGRAM_MEMORY_BYTES = 512 * 2**20
PROGRAM_FOLDER_BYTES = 32 * 2**20
"""Also in memory."""
RUNNER_OWN_BYTES = 448 * 2**20
"""Python, a handler for each program, and what the kernel holds for the programs' files, threads and pages."""
TESTS_MEMORY_BYTES = 256 * 2**20
"""The judge runs the tests of each program in a process of its own."""
JUDGE_OWN_BYTES = 512 * 2**20
