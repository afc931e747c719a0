{{/* Everything in a namespace is called like the release: the operator finds its Lease and its CA by STICKY_RELEASE. */}}
{{- define "sticky-routing.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sticky-routing.labels" -}}
{{ include "sticky-routing.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Cluster-wide names carry namespace and release, so that two installations don't meet. */}}
{{- define "sticky-routing.clusterName" -}}
{{ printf "%s:%s" .Release.Namespace .Release.Name }}
{{- end }}

{{/* The webhook for evictions; the operator finds it by STICKY_RELEASE and its namespace. */}}
{{- define "sticky-routing.evictions" -}}
{{ printf "%s-evictions-%s" .Release.Name .Release.Namespace | trimSuffix "-" }}
{{- end }}

{{/* The policy that holds pods, and its binding; empty if the cluster gets none. */}}
{{- define "sticky-routing.holdPolicy" -}}
{{- if and .Values.hold.policy.install (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) -}}
{{ printf "%s-hold-%s" .Release.Name .Release.Namespace | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Reference of an image: (dict "image" .Values.image.x "chart" .Chart) */}}
{{- define "sticky-routing.image" -}}
{{- if .image.digest -}}
{{ printf "%s@%s" .image.repository .image.digest }}
{{- else -}}
{{ printf "%s:%s" .image.repository (default .chart.AppVersion .image.tag) }}
{{- end -}}
{{- end }}
