{{/* The operator's name; there is one in a namespace. */}}
{{- define "capstan.name" -}}capstan-operator{{- end }}

{{- define "capstan.selector" -}}
app.kubernetes.io/name: operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "capstan.labels" -}}
{{ include "capstan.selector" . }}
app.kubernetes.io/part-of: capstan
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "capstan.metadata" -}}
name: {{ include "capstan.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "capstan.labels" . | nindent 2 }}
{{- end }}

{{/* (dict "root" $ "image" "operator") */}}
{{- define "capstan.image" -}}
{{- with .root -}}
{{- index .Values.images.override $.image | default (printf "%s/capstan-%s:%s" .Values.images.registry $.image (.Values.images.tag | default .Chart.AppVersion)) -}}
{{- end -}}
{{- end }}

{{- define "capstan.keysSecret" -}}
{{- .Values.keysSecret | default "capstan-keys" -}}
{{- end }}

{{- define "capstan.artifacts" -}}
{{- if .Values.artifacts.uri -}}
{{- .Values.artifacts.uri -}}
{{- else if .Values.stack -}}
s3://capstan?endpoint_override=object-storage.{{ .Release.Namespace }}.svc:7070&scheme=http
{{- end -}}
{{- end }}

{{- define "capstan.artifactKeysSecret" -}}
{{- if .Values.artifacts.keysSecret -}}
{{- .Values.artifacts.keysSecret -}}
{{- else if and .Values.stack (not .Values.artifacts.uri) -}}
object-storage-keys
{{- end -}}
{{- end }}

{{/* What capstan.cluster.settings reads. */}}
{{- define "capstan.settings" -}}
{{- $ns := .Release.Namespace -}}
{{- $images := dict "version" .Values.images.version "pull_policy" .Values.images.pullPolicy "pull_secrets" .Values.images.pullSecrets -}}
{{- range $image := list "operator" "serving" "python" "gateway" -}}
{{- $_ := set $images $image (include "capstan.image" (dict "root" $ "image" $image)) -}}
{{- end -}}
{{- with .Values.images.override.alertmanager }}{{- $_ := set $images "alertmanager" . }}{{- end -}}
{{- $_ := set $images "router" (include "capstan.image" (dict "root" $ "image" "bandit-router")) -}}
{{- $settings := dict
  "namespace" $ns
  "watch_namespaces" .Values.watchNamespaces
  "images" $images
  "seldon_executor" .Values.seldonExecutor
  "detectors" .Values.detectors
  "sync_record" .Values.syncRecord
  "artifacts" (include "capstan.artifacts" .)
  "master_key" "/etc/capstan/keys/master"
  "webhook_token" "/etc/capstan/keys/webhook"
  "webhook_url" (printf "http://%s.%s.svc:8088/alerts" (include "capstan.name" .) $ns)
  "tracking_uri" (required "mlflowUrl: name an MLflow server, or install charts/capstan-stack here and set stack" (.Values.mlflowUrl | default (ternary (printf "http://mlflow.%s.svc:5000" $ns) "" .Values.stack)))
  "prometheus_url" (required "prometheusUrl: name a Prometheus, or install charts/capstan-stack here and set stack" (.Values.prometheusUrl | default (ternary (printf "http://prometheus.%s.svc:9090" $ns) "" .Values.stack)))
  "alertmanager_url" (required "alertmanagerUrl: name an Alertmanager, or install charts/capstan-stack here and set stack" (.Values.alertmanagerUrl | default (ternary (printf "http://alertmanager.%s.svc:9093" $ns) "" .Values.stack)))
-}}
{{- if .Values.page.enabled }}{{- $_ := set $settings "reading_key" "/etc/capstan/keys/reading" }}{{- end -}}
{{- if include "capstan.artifactKeysSecret" . }}{{- $_ := set $settings "artifact_keys" "/etc/capstan/artifacts" }}{{- $_ := set $settings "artifact_keys_secret" (include "capstan.artifactKeysSecret" .) }}{{- end -}}
{{- if .Values.kfp.url }}{{- $_ := set $settings "kfp_url" .Values.kfp.url }}{{- end -}}
{{- if and .Values.kfp.url .Values.kfp.authenticate }}{{- $_ := set $settings "kfp_token" "/etc/capstan/kfp/token" }}{{- end -}}
{{- if include "capstan.plainPrometheus" . }}{{- $_ := set $settings "rules" (dict "namespace" $ns "name" "prometheus-rules") }}{{- end -}}
{{- if .Values.storageClass }}{{- $_ := set $settings "storage_class" .Values.storageClass }}{{- end -}}
{{- toPrettyJson $settings -}}
{{- end }}

{{/* Not empty if rules go to the ConfigMap of the stack's Prometheus instead of to PrometheusRule objects. */}}
{{- define "capstan.plainPrometheus" -}}
{{- if and .Values.stack (not .Values.prometheusUrl) -}}yes{{- end -}}
{{- end }}

{{/* Pod Security "restricted". */}}
{{- define "capstan.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1034
runAsGroup: 1034
fsGroup: 1034
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "capstan.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "capstan.pageSelector" -}}
app.kubernetes.io/name: page
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "capstan.pageLabels" -}}
{{ include "capstan.pageSelector" . }}
app.kubernetes.io/part-of: capstan
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "capstan.pageMetadata" -}}
name: capstan-page
namespace: {{ .Release.Namespace }}
labels:
  {{- include "capstan.pageLabels" . | nindent 2 }}
{{- end }}

{{/* What capstan_page.settings reads. */}}
{{- define "capstan.pageSettings" -}}
{{- $proxy := dict "addresses" .Values.page.proxy.addresses "user_header" (lower .Values.page.proxy.userHeader) "groups_header" (lower .Values.page.proxy.groupsHeader) -}}
{{- toPrettyJson (dict
  "prefix" .Values.page.prefix
  "hosts" .Values.page.hosts
  "session_key" "/etc/capstan/keys/sessions"
  "session_hours" .Values.page.sessionHours
  "proxy" $proxy
  "links" (dict "mlflow" .Values.page.links.mlflow "prometheus" .Values.page.links.prometheus "kfp" .Values.page.links.kfp)
) -}}
{{- end }}
