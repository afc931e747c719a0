{{/*
A ServiceAccount with the same rules wherever StickyServices are looked after:
(dict "root" $ "name" "…" "rules" "sticky-routing.…" "hook" "post-delete" or "")
That of a hook is one on the cluster: a Role in a namespace that has gone since would fail the whole hook. What Helm looks up
it looks up at the installation, when they are all there.
*/}}
{{- define "sticky-routing.grant" -}}
{{- $root := .root }}
{{- $name := .name }}
{{- $rules := .rules }}
{{- $hook := .hook }}
{{- $wide := or (not $root.Values.watchNamespaces) (not (empty $hook)) }}
{{- $wideName := printf "%s:%s" $root.Release.Namespace $name }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  {{- include "sticky-routing.grantMeta" (dict "root" $root "hook" $hook) | nindent 2 }}
automountServiceAccountToken: false
{{- range ternary (list "") $root.Values.watchNamespaces $wide }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "ClusterRole" "Role" $wide }}
metadata:
  name: {{ ternary $wideName $name $wide }}
  {{- with . }}
  namespace: {{ . }}
  {{- end }}
  {{- include "sticky-routing.grantMeta" (dict "root" $root "hook" $hook) | nindent 2 }}
rules:
  {{- include $rules $root | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "ClusterRoleBinding" "RoleBinding" $wide }}
metadata:
  name: {{ ternary $wideName $name $wide }}
  {{- with . }}
  namespace: {{ . }}
  {{- end }}
  {{- include "sticky-routing.grantMeta" (dict "root" $root "hook" $hook) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ ternary "ClusterRole" "Role" $wide }}
  name: {{ ternary $wideName $name $wide }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end }}

{{- define "sticky-routing.grantMeta" -}}
labels:
  {{- include "sticky-routing.labels" .root | nindent 2 }}
{{- with .hook }}
annotations:
  helm.sh/hook: {{ . }}
  helm.sh/hook-weight: "-1"
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
{{- end }}

{{/* What the switch and the uninstallation both do: remove our budgets, have controllers that wait look again. */}}
{{- define "sticky-routing.offRules" -}}
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  resourceNames: [stickyrouting-hold]
  verbs: [delete]
- apiGroups: [apps]
  resources: [replicasets, statefulsets]
  verbs: [list, patch]
{{- end }}

{{- define "sticky-routing.cleanRules" -}}
{{ include "sticky-routing.offRules" . }}
- apiGroups: [stickyrouting.io]
  resources: [stickyservices]
  verbs: [list]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch, delete]
{{- end }}

{{/*
What these accounts may do to controllers, whatever their rights: have them look again, by one annotation:
(dict "root" $ "name" "…" "hook" "post-delete" or ""). That of a hook comes with it: the release's own are gone by then.
*/}}
{{- define "sticky-routing.offFence" -}}
{{- $account := .name }}
{{- $root := .root }}
{{- $name := printf "%s-fence-%s" .name $root.Release.Namespace | trimSuffix "-" }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $name }}
  {{- include "sticky-routing.grantMeta" (dict "root" $root "hook" .hook) | nindent 2 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    matchPolicy: Equivalent
    resourceRules:
      - apiGroups: [apps]
        apiVersions: [v1]
        operations: [UPDATE]
        resources: [replicasets, statefulsets]
        scope: Namespaced
  matchConditions:
    - name: the-account
      expression: request.userInfo.username == 'system:serviceaccount:{{ $root.Release.Namespace }}:{{ $account }}'
  variables:
    - name: notes
      expression: >-
        has(object.metadata.annotations) ? object.metadata.annotations : {}
    - name: oldNotes
      expression: >-
        has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {}
  validations:
    - expression: object.spec == oldObject.spec
      reason: Forbidden
      message: {{ $account }} leaves the spec of controllers alone
    - expression: >-
        variables.notes.all(k, k == 'stickyrouting.io/poke' ||
        (k in variables.oldNotes && variables.oldNotes[k] == variables.notes[k])) &&
        variables.oldNotes.all(k, k == 'stickyrouting.io/poke' || k in variables.notes)
      reason: Forbidden
      message: {{ $account }} changes only the annotation stickyrouting.io/poke
    - expression: >-
        (has(object.metadata.labels) ? object.metadata.labels : {}) ==
        (has(oldObject.metadata.labels) ? oldObject.metadata.labels : {})
      reason: Forbidden
      message: {{ $account }} leaves the labels of controllers alone
    - expression: >-
        (has(object.metadata.ownerReferences) ? object.metadata.ownerReferences : []) ==
        (has(oldObject.metadata.ownerReferences) ? oldObject.metadata.ownerReferences : []) &&
        (has(object.metadata.finalizers) ? object.metadata.finalizers : []) ==
        (has(oldObject.metadata.finalizers) ? oldObject.metadata.finalizers : [])
      reason: Forbidden
      message: {{ $account }} leaves the owners and finalizers of controllers alone
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  {{- include "sticky-routing.grantMeta" (dict "root" $root "hook" .hook) | nindent 2 }}
spec:
  policyName: {{ $name }}
  validationActions: [Deny]
{{- end }}

{{/*
The pod that turns the hold off: (dict "root" $ "name" "…" "verb" "switch" or "clean"). It has no label of the operator's
pods: it is none of them.
*/}}
{{- define "sticky-routing.offPod" -}}
metadata:
  labels:
    app.kubernetes.io/name: {{ .name }}
spec:
  serviceAccountName: {{ .name }}
  automountServiceAccountToken: true
  enableServiceLinks: false
  restartPolicy: Never
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    seccompProfile:
      type: RuntimeDefault
  {{- with .root.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .verb }}
      image: {{ include "sticky-routing.image" (dict "image" .root.Values.image.operator "chart" .root.Chart) }}
      command: [python, -m, stickyrouting.controller.off, {{ .verb }}]
      env:
        - name: POD_NAMESPACE
          value: {{ .root.Release.Namespace | quote }}
        - name: STICKY_RELEASE
          value: {{ .root.Release.Name | quote }}
        - name: STICKY_NAMESPACES
          value: {{ join "," .root.Values.watchNamespaces | quote }}
        - name: STICKY_HOLD_POLICY
          value: {{ include "sticky-routing.holdPolicy" .root | quote }}
        {{- if eq .root.Values.evictions "Webhook" }}
        - name: STICKY_WEBHOOK
          value: {{ include "sticky-routing.evictions" .root | quote }}
        {{- end }}
        {{- with .root.Values.hold.expiresAfter }}
        - name: STICKY_HOLD_EXPIRES_AFTER
          value: {{ . | quote }}
        {{- end }}
      resources:
        requests: {cpu: 10m, memory: 64Mi}
        limits: {memory: 256Mi}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
{{- end }}
