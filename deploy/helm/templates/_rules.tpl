{{/*
What the operator may do where StickyServices are. It holds get, list and watch on ConfigMaps itself because it grants
them to the proxies (each on its one ConfigMap): so it needs neither escalate nor bind. It makes and replaces Secrets (two
for each StickyService, NAME-sticky-keys-a and -b) but reads none.
*/}}
{{- define "sticky-routing.rules" -}}
- apiGroups: [stickyrouting.io]
  resources: [stickyservices]
  verbs: [list, watch, patch]
- apiGroups: [stickyrouting.io]
  resources: [stickyservices/status]
  verbs: [patch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
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
