"""Measure the operator with many runs at once, on nodes that do not exist.

``make bench-scale N=10``, or ``python hack/bench/scale --runs 10`` with KUBECONFIG set. The operator's pod must run on
this machine, whose kernel counts its memory and CPU time. docs/benchmarks.md says what is measured and what is a
stand-in.

A measurement restarts the operator, creates the runs, waits until all are finished, restarts the operator again, and
prints a table. At the end it deletes everything that it has created, also after Ctrl-C.
"""

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import analysis
import figures
import fixtures
import kubernetes
import operator_pod
import standin
from measurement import measure, say
from shapes import LABEL, SHAPES, Workload

RESULTS = standin.CACHE / "bench" / "scale"
DELETE_SECONDS = 600


def main() -> None:
    options = _options()
    if options.table:
        print(figures.table([figures.read(path) for path in options.table]))
        return
    for number in (signal.SIGINT, signal.SIGTERM):  # an exit, so that everything is deleted
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    kubernetes.config.load_kube_config()
    if options.clean:
        with (
            tempfile.TemporaryDirectory() as name,
            standin.running(fixtures.NAMESPACE, LABEL, fixtures.nodes(), "{}", Path(name)),
        ):
            remove_everything()
        return
    unfinished = [name for name, finished in fixtures.runs().items() if not finished]
    if unfinished:
        raise SystemExit(f"bench-scale: run {unfinished[0]} of an earlier measurement is not finished: use --clean")
    workload = Workload(options.shape, options.runs, time.strftime("%d%H%M%S"), options.spec)
    folder = RESULTS / workload.batch
    folder.mkdir(parents=True)
    nodes = max(workload.nodes, fixtures.nodes())
    with (
        standin.running(fixtures.NAMESPACE, LABEL, nodes, workload.script(), folder) as timeline,
        _cleaned(timeline, workload, keep=options.keep),
    ):
        fixtures.prepare(workload)
        measured = measure(timeline, workload, options)
        measured.save(folder / "figures.json")
        print(figures.table([measured]), flush=True)
        say(f"figures and timeline: {folder}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "bench-scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1, help="runs to create at once (default: 1)")
    parser.add_argument("--shape", choices=SHAPES, default="tiny", help="sample that they look like (default: tiny)")
    parser.add_argument(
        "--spec", type=json.loads, metavar="JSON", help="""fields of every run's spec, such as '{"suspend": false}'"""
    )
    parser.add_argument("--timeout", type=float, default=900, help="seconds to wait for their end (default: 900)")
    parser.add_argument(
        "--settle", type=float, default=20, help="seconds from a start or an end to reading memory (default: 20)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the finished runs for the next measurement")
    parser.add_argument("--clean", action="store_true", help="only delete what earlier measurements have left")
    parser.add_argument(
        "--table", nargs="+", type=Path, metavar="FIGURES", help="only print saved figures.json files side by side"
    )
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs: {options.runs}: must be at least 1")
    return options


@contextlib.contextmanager
def _cleaned(timeline: standin.Timeline, workload: Workload, *, keep: bool) -> Iterator[None]:
    """Delete the runs at the end, and with the last ones everything else; with ``keep`` only when something failed."""
    try:
        yield
    except BaseException:
        _delete(timeline, workload)
        raise
    if not keep:
        _delete(timeline, workload)


def _delete(timeline: standin.Timeline, workload: Workload) -> None:
    say("deleting the runs; if this is interrupted, use --clean")
    fixtures.delete_runs(workload.batch)
    if not fixtures.runs():
        remove_everything()
    elif not timeline.wait(lambda: analysis.all_gone(timeline.entries, workload.names), DELETE_SECONDS):
        raise SystemExit(f"bench-scale: some pods are still there after {DELETE_SECONDS} s: use --clean")
    # A container that was killed again and again is started after up to 5 minutes; a new pod is started now.
    if not operator_pod.is_ready(operator_pod.find()):
        operator_pod.restart()


def remove_everything() -> None:
    """Delete all that measurements have created; the stand-in must be running, to end the pods."""
    fixtures.delete_namespace(DELETE_SECONDS)
    fixtures.delete_nodes_and_volume()


if __name__ == "__main__":
    main()
