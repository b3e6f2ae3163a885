{{- define "headwater.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* What all names begin with; cut at 40, so that they fit into a label with what follows. */}}
{{- define "headwater.fullname" -}}
{{- $name := include "headwater.name" . }}
{{- $full := printf "%s-%s" .Release.Name $name }}
{{- if contains $name .Release.Name }}
{{- $full = .Release.Name }}
{{- end }}
{{- .Values.fullnameOverride | default $full | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "headwater.operator" -}}
{{- include "headwater.fullname" . }}-operator
{{- end }}

{{/* The component tells the operator from brokers of a Cluster that is called like the release. */}}
{{- define "headwater.selector" -}}
app.kubernetes.io/name: {{ include "headwater.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/*
Labels of a resource: (list $ COMPONENT [MORE...]), MORE being maps. Merged, for a key that stands
twice is an error in Helm 4; the chart's own win, for selectors rely on them.
*/}}
{{- define "headwater.labels" -}}
{{- $root := first . }}
{{- $labels := deepCopy ($root.Values.commonLabels | default dict) }}
{{- range slice . 2 }}
{{- $labels = mergeOverwrite $labels (deepCopy (. | default dict)) }}
{{- end }}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/name" (include "headwater.name" $root)
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/component" (index . 1)
  "app.kubernetes.io/part-of" "headwater"
  "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- toYaml (mergeOverwrite $labels $own) }}
{{- end }}

{{- define "headwater.image" -}}
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry }}
{{- $name := .Values.image.repository }}
{{- if $registry }}
{{- $name = printf "%s/%s" $registry $name }}
{{- end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $name .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "headwater.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "headwater.operator" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* Where Clusters are operated, as a JSON list. */}}
{{- define "headwater.clusterNamespaces" -}}
{{- .Values.clusterNamespaces | default (list .Release.Namespace) | uniq | toJson }}
{{- end }}

{{/* Where examples and the test have their Cluster: one of those, the release's own if it can be. */}}
{{- define "headwater.exampleNamespace" -}}
{{- $namespaces := include "headwater.clusterNamespaces" . | fromJsonArray }}
{{- has .Release.Namespace $namespaces | ternary .Release.Namespace (first $namespaces) }}
{{- end }}

{{/* Variables of the operator and of its uninstall hook. */}}
{{- define "headwater.env" -}}
{{- $own := list
  (dict "name" "HEADWATER_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "apiVersion" "v1" "fieldPath" "metadata.namespace")))
  (dict "name" "HEADWATER_IDENTITY" "valueFrom" (dict "fieldRef" (dict "apiVersion" "v1" "fieldPath" "metadata.name")))
  (dict "name" "HEADWATER_LEASE_NAME" "value" (include "headwater.operator" .))
  (dict "name" "HEADWATER_CLUSTER_NAMESPACES" "value" (include "headwater.clusterNamespaces" . | fromJsonArray | join ","))
  (dict "name" "HEADWATER_DEFAULT_IMAGE" "value" (.Values.brokerImage | default (include "headwater.image" .)))
  (dict "name" "HEADWATER_LOG_LEVEL" "value" .Values.logLevel)
  (dict "name" "HEADWATER_LOG_FORMAT" "value" .Values.logFormat) }}
{{- $names := list }}
{{- range $own }}
{{- $names = append $names .name }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if has .name $names }}
{{- fail (printf "extraEnv names %s twice, or the chart sets it itself from another value" .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- toYaml (concat $own .Values.extraEnv) }}
{{- end }}

{{/* What all pods of the chart have in common: where they run, and that they may do nothing. */}}
{{- define "headwater.pod" -}}
# Variables for every Service of the namespace would be taken for settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "headwater.container" -}}
image: {{ include "headwater.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}
