{{/* The release, or what it is called instead. */}}
{{- define "moodstream.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 34 | trimSuffix "-" }}
{{- end }}

{{/* What names of objects begin with; 34 characters leave room for the role, and a pod's number. */}}
{{- define "moodstream.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 34 | trimSuffix "-" }}
{{- else if contains (include "moodstream.name" .) .Release.Name }}
{{- .Release.Name | trunc 34 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "moodstream.name" .) | trunc 34 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Takes a context (_context.tpl). */}}
{{- define "moodstream.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .release }}
app.kubernetes.io/component: {{ .component }}
{{- with .source }}
moodstream/source: {{ . }}
{{- end }}
{{- end }}

{{- define "moodstream.labels" -}}
{{ include "moodstream.selector" . }}
app.kubernetes.io/version: {{ .appVersion | quote }}
app.kubernetes.io/part-of: moodstream
app.kubernetes.io/managed-by: {{ .manager }}
helm.sh/chart: {{ .chart }}
{{- end }}
