"""Measure the operator with many concurrent runs on simulated nodes.

``make bench-scale N=10``, or ``python hack/bench/scale --runs 10`` with KUBECONFIG set. The operator's pod must run on
this machine, since its memory and CPU time are read from the kernel. docs/benchmarks.md describes the measurement.

A measurement restarts the operator, creates the runs, waits until all are finished, restarts the operator again, and
prints a table. It deletes its objects, also after Ctrl-C, and before it starts those of an earlier measurement.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import figures
import fixtures
import kubelet
import kubernetes
import operator_pod
from measurement import log, measure
from shapes import SHAPES, Workload
from timeline import Timeline

CACHE = Path(os.environ.get("FUSIONRUN_CACHE") or Path.home() / ".cache" / "fusionrun")


def main() -> None:
    options = _options()
    if options.table:
        print(figures.table([figures.read(path) for path in options.table]))
        return
    for number in (signal.SIGINT, signal.SIGTERM):  # exit, so that all objects are deleted
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    kubernetes.config.load_kube_config()
    batch = time.strftime("%d%H%M%S")
    workload = Workload(options.shape, options.runs, batch)
    folder = CACHE / "bench" / "scale" / batch
    folder.mkdir(parents=True)
    timeline = Timeline(folder / "timeline.jsonl")
    try:
        with kubelet.running(max(workload.nodes, fixtures.nodes()), workload.script(), timeline):
            fixtures.delete_runs()
            try:
                fixtures.prepare(workload)
                measured = measure(timeline, workload, options)
                figures.save(measured, folder / "figures.json")
                print(figures.table([measured]), flush=True)
                log(f"figures and timeline: {folder}")
            finally:
                log("deleting the runs; after an interruption the next measurement deletes them")
                fixtures.delete_runs()
    finally:
        fixtures.delete_nodes()
        # The back-off of a container that was killed repeatedly is up to 5 minutes. A new pod starts without it.
        if not operator_pod.is_ready(operator_pod.find()):
            operator_pod.restart()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "bench-scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1, help="number of runs (default: 1)")
    parser.add_argument("--shape", choices=SHAPES, default="tiny", help="shape of the runs (default: tiny)")
    parser.add_argument("--timeout", type=float, default=900, help="seconds until the measurement ends (default: 900)")
    parser.add_argument("--settle", type=float, default=20, help="seconds before memory is read (default: 20)")
    parser.add_argument(
        "--table", nargs="+", type=Path, metavar="FIGURES", help="only compare saved figures.json files"
    )
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs: {options.runs}: must be at least 1")
    return options


if __name__ == "__main__":
    main()
