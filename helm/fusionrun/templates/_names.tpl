{{- define "fusionrun.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fusionrun.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "fusionrun.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "fusionrun.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "fusionrun.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fusionrun.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "fusionrun.serverKey" -}}
{{- default (printf "%s-server-key" (include "fusionrun.fullname" .)) .Values.serverKey.existingSecret -}}
{{- end -}}

{{/*
The reference of an image. Call with (list $ "data"). hack/publish/files sets the annotation of the chart and the digests.
Without a registry, vLLM's image comes from Docker Hub.
*/}}
{{- define "fusionrun.image" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- $image := index $root.Values.images $part -}}
{{- $all := $root.Values.images -}}
{{- $registry := default $all.registry $image.registry -}}
{{- if and (not $registry) (ne $part "serve") -}}
{{- $registry = index $root.Chart.Annotations "fusionrun.dev/registry" -}}
{{- if not $registry -}}
{{- fail (printf "images.registry and images.%s.registry are empty: set images.registry to the registry and path of all images, for example --set images.registry=registry.example.com/ml, or install the chart of a release (images/README.md explains how to build and push the images)" $part) -}}
{{- end -}}
{{- end -}}
{{- $name := list $registry $image.repository | compact | join "/" -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default (default $root.Chart.AppVersion $all.tag) $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Whether programs that models wrote run only under an isolating RuntimeClass: by default on OpenShift. */}}
{{- define "fusionrun.requireIsolation" -}}
{{- if kindIs "bool" .Values.security.requireIsolatingRuntimeClass -}}
{{- .Values.security.requireIsolatingRuntimeClass -}}
{{- else -}}
{{- .Values.security.openshift -}}
{{- end -}}
{{- end -}}

{{/* Namespace of the Lease that only one of several operators holds. */}}
{{- define "fusionrun.leaseNamespace" -}}
{{- .Values.operator.leaseNamespace | default .Release.Namespace -}}
{{- end -}}

{{/* Quantities as text, also those that are numbers in YAML, such as `cpu: 1`. */}}
{{- define "fusionrun.quantities" -}}
{{- $quantities := dict -}}
{{- range $resource, $quantity := . -}}
{{- $_ := set $quantities $resource (toString $quantity) -}}
{{- end -}}
{{- $quantities | toJson -}}
{{- end -}}
