"""Change the manifests of Kueue for the local cluster: render.py VERSION [--without FRAMEWORK]... < upstream > changed.

- The image is the one that hack/integrations/build loads, and there is no proxy for metrics (0.9).
- Integrations: Job, PyTorchJob, pod and Deployment, without those of --without.
- The API of the visibility server is left out: an API that does not answer keeps namespaces from being deleted.
- Webhooks select only namespaces with the label ``fusionrun.dev/kueue``: they refuse objects while Kueue is away.
"""

import argparse
import sys
from typing import Any

import yaml

FRAMEWORKS = ("batch/job", "kubeflow.org/pytorchjob", "pod", "deployment")
NAMESPACES = {"matchLabels": {"fusionrun.dev/kueue": "true"}}
CONFIGURATION = "controller_manager_config.yaml"


def change(manifest: dict[str, Any], version: str, without: list[str]) -> dict[str, Any]:
    """Return an object of Kueue as it is installed."""
    if manifest["kind"] == "Deployment":
        pod = manifest["spec"]["template"]["spec"]
        pod["containers"] = [c for c in pod["containers"] if c["name"] == "manager"]
        pod["containers"][0] |= {
            "image": f"fusionrun.local/kueue:{version}",
            "imagePullPolicy": "Never",
            "command": ["/kueue"],
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        }
        # The image has no /tmp, where the visibility server of 0.9 writes its certificate.
        pod["volumes"].append({"name": "tmp", "emptyDir": {}})
        pod["containers"][0]["volumeMounts"].append({"name": "tmp", "mountPath": "/tmp"})
        pod["containers"][0]["readinessProbe"] |= {"initialDelaySeconds": 1, "periodSeconds": 1}
        manifest["spec"]["strategy"] = {"type": "Recreate"}
    elif manifest["kind"] == "ConfigMap" and CONFIGURATION in manifest["data"]:
        configuration = yaml.safe_load(manifest["data"][CONFIGURATION])
        configuration["leaderElection"]["leaderElect"] = False
        configuration["integrations"] = {"frameworks": [f for f in FRAMEWORKS if f not in without]}
        manifest["data"][CONFIGURATION] = yaml.safe_dump(configuration)
    for webhook in manifest.get("webhooks", []):
        webhook["namespaceSelector"] = NAMESPACES
    return manifest


def main() -> None:
    """Read manifests from standard input and write the changed ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version")
    parser.add_argument("--without", action="append", default=[], choices=FRAMEWORKS)
    arguments = parser.parse_args()
    manifests = [m for m in yaml.safe_load_all(sys.stdin) if m and m["kind"] != "APIService"]
    yaml.safe_dump_all((change(m, arguments.version, arguments.without) for m in manifests), sys.stdout)


if __name__ == "__main__":
    main()
