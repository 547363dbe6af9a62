"""Measure the operator with many concurrent runs on simulated nodes.

``make bench-scale N=10``, or ``python hack/bench/scale --runs 10`` with KUBECONFIG set. The operator's pod must run on
this machine, since its memory and CPU time are read from the kernel. docs/benchmarks.md describes the measurement.

A measurement restarts the operator, creates the runs, waits until all are finished, restarts the operator again, and
prints a table. It deletes its objects at the end, also after Ctrl-C.
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
from measurement import log, measure
from shapes import LABEL, SHAPES, Workload

RESULTS = standin.CACHE / "bench" / "scale"
DELETE_SECONDS = 600


def main() -> None:
    options = _options()
    if options.table:
        print(figures.table([figures.read(path) for path in options.table]))
        return
    for number in (signal.SIGINT, signal.SIGTERM):  # exit, so that all objects are deleted
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
        raise SystemExit(f"bench-scale: unfinished run {unfinished[0]} of an earlier measurement: run with --clean")
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
        log(f"figures and timeline: {folder}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "bench-scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1, help="number of runs (default: 1)")
    parser.add_argument("--shape", choices=SHAPES, default="tiny", help="shape of the runs (default: tiny)")
    parser.add_argument(
        "--spec", type=json.loads, metavar="JSON", help="""spec fields of all runs, such as '{"suspend": false}'"""
    )
    parser.add_argument("--timeout", type=float, default=900, help="seconds until the measurement ends (default: 900)")
    parser.add_argument("--settle", type=float, default=20, help="seconds before memory is read (default: 20)")
    parser.add_argument("--keep", action="store_true", help="keep the finished runs for the next measurement")
    parser.add_argument("--clean", action="store_true", help="only delete the objects of earlier measurements")
    parser.add_argument(
        "--table", nargs="+", type=Path, metavar="FIGURES", help="only compare saved figures.json files"
    )
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs: {options.runs}: must be at least 1")
    return options


@contextlib.contextmanager
def _cleaned(timeline: standin.Timeline, workload: Workload, *, keep: bool) -> Iterator[None]:
    """Delete the runs at the end, and the other objects with the last runs; with ``keep`` only after a failure."""
    try:
        yield
    except BaseException:
        _delete(timeline, workload)
        raise
    if not keep:
        _delete(timeline, workload)


def _delete(timeline: standin.Timeline, workload: Workload) -> None:
    log("deleting the runs; after an interruption run with --clean")
    fixtures.delete_runs(workload.batch)
    if not fixtures.runs():
        remove_everything()
    elif not timeline.wait(lambda: analysis.all_gone(timeline.entries, workload.names), DELETE_SECONDS):
        raise SystemExit(f"bench-scale: pods are not deleted after {DELETE_SECONDS} s: run with --clean")
    # The back-off of a container that was killed repeatedly is up to 5 minutes. A new pod starts without it.
    if not operator_pod.is_ready(operator_pod.find()):
        operator_pod.restart()


def remove_everything() -> None:
    """Delete the objects of all measurements. The stand-in must run, since it ends the pods."""
    fixtures.delete_namespace(DELETE_SECONDS)
    fixtures.delete_nodes_and_volume()


if __name__ == "__main__":
    main()
