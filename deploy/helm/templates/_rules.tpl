{{/*
What the operator may do where StickyServices are. It holds get, list and watch on ConfigMaps itself because it grants
them to the proxies (each on its one ConfigMap): so it needs neither escalate nor bind. It makes and replaces Secrets (two
for each StickyService, NAME-sticky-keys-a and -b) but reads none.
*/}}
{{- define "sticky-routing.rules" -}}
- apiGroups: [stickyrouting.io]
  resources: [stickyservices]
  verbs: [get, list, watch, patch]
- apiGroups: [stickyrouting.io]
  resources: [stickyservices/status]
  verbs: [patch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [replicasets, statefulsets]
  verbs: [get, list, watch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  resourceNames: [stickyrouting-hold]
  verbs: [delete]
{{- if ne .Values.evictions "Off" }}
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
{{- end }}
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings, roles]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{/*
What it may do outside of namespaces: see which nodes are cordoned or emptied, and have its own webhook trusted. With
watchNamespaces it has no such right but for the webhook's sake.
*/}}
{{- define "sticky-routing.clusterRules" -}}
{{- if or (eq .Values.evictions "Webhook") (not .Values.watchNamespaces) }}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
{{- end }}
{{- if eq .Values.evictions "Webhook" }}
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingwebhookconfigurations]
  resourceNames: [{{ include "sticky-routing.evictions" . }}]
  verbs: [get, patch]
{{- end }}
{{- end }}
