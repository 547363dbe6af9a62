"""Measure the operator, or Argo's workflow-controller, with many concurrent runs on simulated nodes.

``make bench-scale N=10``, or ``python hack/bench/scale --runs 10`` with the programs of the local cluster in PATH. The
control plane and the controller are processes of the measurement, which stops them at its end. It exits with 1 if not
all runs are complete. docs/benchmarks.md describes it.
"""

import argparse
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import figures
import fixtures
import kubelet
import kubernetes
from control_plane import ADMIN, CONTROLLER, KUBELET, ControlPlane
from engines import ENGINES
from measurement import log, measure
from shapes import SHAPES, Workload
from timeline import Timeline

CACHE = Path(os.environ.get("FUSIONRUN_CACHE") or Path.home() / ".cache" / "fusionrun")


def main() -> int:
    """Run the measurement; return the exit status."""
    options = _options()
    if options.table:
        print(figures.table([figures.read(path) for path in options.table]))
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):  # exit, so that all processes are stopped
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    batch = time.strftime("%d%H%M%S")
    workload = Workload(options.shape, options.runs, batch)
    folder = CACHE / "bench" / "scale" / batch
    (folder / "plane").mkdir(parents=True)
    timeline = Timeline(folder / "timeline.jsonl")
    try:
        with ControlPlane(folder / "plane") as plane:
            os.environ["KUBECONFIG"] = str(plane.kubeconfig(ADMIN))
            kubernetes.config.load_kube_config(os.environ["KUBECONFIG"])
            engine = ENGINES[options.engine](folder, plane.kubeconfig(CONTROLLER))
            fixtures.prepare(workload, CONTROLLER)
            engine.install()
            access = kubelet.Access(plane.kubeconfig(KUBELET), plane.certificate)
            with kubelet.running(access, workload.nodes, workload.script(), timeline, engine.watched):
                measured = measure(timeline, workload, engine, plane, options)
    finally:
        shutil.rmtree(folder / "plane" / "etcd", ignore_errors=True)
    figures.save(measured, folder / "figures.json")
    print(figures.table([measured]), flush=True)
    log(f"figures, timeline and logs: {folder}")
    return int(measured.complete < measured.runs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "bench-scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=ENGINES, default="FusionRun", help="the controller (default: FusionRun)")
    parser.add_argument("--runs", type=int, default=1, help="number of runs (default: 1)")
    parser.add_argument("--rate", type=float, help="runs created per second (default: all at once)")
    parser.add_argument("--shape", choices=SHAPES, default="tiny", help="shape of the runs (default: tiny)")
    parser.add_argument("--timeout", type=float, default=900, help="seconds until the measurement ends (default: 900)")
    parser.add_argument("--settle", type=float, default=20, help="seconds before memory is read (default: 20)")
    parser.add_argument(
        "--table", nargs="+", type=Path, metavar="FIGURES", help="only compare saved figures.json files"
    )
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs: {options.runs}: must be at least 1")
    if options.engine != "FusionRun" and options.shape in ("llama", "rehearsal"):
        parser.error(f"--shape {options.shape}: a Workflow has no limit of GPUs and of pods of a stage")
    return options


if __name__ == "__main__":
    sys.exit(main())
