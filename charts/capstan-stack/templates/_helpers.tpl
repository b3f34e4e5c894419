{{/* Each part of the stack is called (dict "root" $ "part" "mlflow"); there is one stack in a namespace. */}}
{{- define "stack.selector" -}}
app.kubernetes.io/name: {{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "stack.labels" -}}
{{ include "stack.selector" . }}
app.kubernetes.io/part-of: capstan
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "stack.metadata" -}}
name: {{ .part }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "stack.labels" . | nindent 2 }}
{{- end }}

{{/* What a StatefulSet of one replica has around its pod; Pod Security "restricted". */}}
{{- define "stack.set" -}}
serviceName: {{ .part }}
replicas: 1
selector:
  matchLabels:
    {{- include "stack.selector" . | nindent 4 }}
# Volumes outlive the set, and with it the release.
persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain, whenScaled: Retain}
volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: {{ .storage.size }}}}
      {{- with .storage.storageClass }}
      storageClassName: {{ . }}
      {{- end }}
{{- end }}

{{- define "stack.pod" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 1034
  runAsGroup: 1034
  fsGroup: 1034
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "stack.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* (dict "root" $ "part" "mlflow" "port" 5000) */}}
{{- define "stack.service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "stack.metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "stack.selector" . | nindent 4 }}
  ports:
    - {name: http, port: {{ .port }}, targetPort: http}
{{- end }}

{{/* The same with "from": peers, and "page": whether Capstan's page comes too. The operator and what values add come by
     themselves. */}}
{{- define "stack.network" -}}
{{- if .root.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "stack.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "stack.selector" . | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
    - ports: [{port: http}]
      from:
        - podSelector: {matchLabels: {app.kubernetes.io/name: operator}}
        {{- if .page }}
        - podSelector: {matchLabels: {app.kubernetes.io/name: page}}
        {{- end }}
        {{- with .from }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- with .root.Values.networkPolicy.from }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end }}
{{- end }}

{{/* Pods of systems, in whatever namespace. */}}
{{- define "stack.systems" -}}
namespaceSelector: {}
podSelector:
  matchExpressions:
    - {key: capstan.dev/system, operator: Exists}
{{- end }}
