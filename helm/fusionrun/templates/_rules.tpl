{{/* Permissions of the operator in a watched namespace: exactly what cluster/ uses. */}}
{{- define "fusionrun.rules" -}}
- apiGroups: [fusionrun.dev]
  resources: [fusionruns]
  verbs: [get, list, watch]
- apiGroups: [fusionrun.dev]
  resources: [fusionruns/status]
  verbs: [patch]
# Owner references with blockOwnerDeletion, if the cluster enforces OwnerReferencesPermissionEnforcement.
- apiGroups: [fusionrun.dev]
  resources: [fusionruns/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [kubeflow.org]
  resources: [pytorchjobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [trainer.kubeflow.org]
  resources: [trainjobs, trainingruntimes]
  verbs: [get, list, watch, create, delete]
# Gang scheduling, for runs with training.gang.
- apiGroups: [scheduling.x-k8s.io, scheduling.volcano.sh]
  resources: [podgroups]
  verbs: [get, list, watch, create, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, delete]
# Never deleted by the operator: NetworkPolicies are deleted with their run.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch]
# Mark pods on lost nodes as failed, so that their Jobs continue.
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch]
# Check that the LocalQueue of a run exists.
- apiGroups: [kueue.x-k8s.io]
  resources: [localqueues]
  verbs: [get]
# Read what Kueue reports about the stages that it queues.
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list]
# Read the last log lines of failed pods.
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- if .Values.serverKey.enabled }}
# The API key of a run's model servers. No Secret is read.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end }}
# Post events of runs, and read why their pods are not created or do not start.
- apiGroups: [""]
  resources: [events]
  verbs: [get, list, create, patch]
{{- end -}}
