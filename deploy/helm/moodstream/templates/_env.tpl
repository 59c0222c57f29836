{{/* The environment of a role: its settings as they are, its secrets as references. Takes a context. */}}
{{- define "moodstream.env" -}}
{{- range $section := .sections }}
{{- $name := printf "MOODSTREAM_%s" (upper $section) }}
{{- $given := default dict (get $.settings $section) }}
{{- include "moodstream.env.plain" (dict "name" $name "value" $given) }}
{{- include "moodstream.env.secret" (dict "name" $name "value" (default dict (get $.secrets $section)) "given" $given) }}
{{- end }}
{{- end }}

{{/* One setting, or all below. What is empty is left out: the product's default holds. */}}
{{- define "moodstream.env.plain" -}}
{{- if kindIs "map" .value }}
{{- range $key, $value := .value }}
{{- include "moodstream.env.plain" (dict "name" (printf "%s__%s" $.name (upper $key)) "value" $value) }}
{{- end }}
{{- else if not (or (kindIs "invalid" .value) (eq (toString .value) "") (eq (toString .value) "[]")) }}
- name: {{ .name }}
  value: {{ include "moodstream.text" .value | quote }}
{{- end }}
{{- end }}

{{/* One secret, or all below. `given`: what `settings` says of the same. */}}
{{- define "moodstream.env.secret" -}}
{{- if hasKey .value "existingSecret" }}
{{- if .given }}
{{- fail (printf "%s is given under settings and under secrets: once is enough" (include "moodstream.path" .name)) }}
{{- end }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .value.existingSecret }}
      key: {{ .value.key }}
{{- else }}
{{- range $key, $value := .value }}
{{- $given := "" }}
{{- if kindIs "map" $.given }}{{ $given = get $.given $key }}{{ end }}
{{- include "moodstream.env.secret" (dict "name" (printf "%s__%s" $.name (upper $key)) "value" $value "given" $given) }}
{{- end }}
{{- end }}
{{- end }}

{{/* MOODSTREAM_KAFKA__SASL_USERNAME as kafka.sasl_username. */}}
{{- define "moodstream.path" -}}
{{- trimPrefix "MOODSTREAM_" . | replace "__" "." | lower }}
{{- end }}

{{/* A value as the product reads it. Helm holds every number as a float, and would write a million as 1e+06. */}}
{{- define "moodstream.text" -}}
{{- if kindIs "bool" . }}
{{- ternary "on" "off" . }}
{{- else if kindIs "slice" . }}
{{- join "," . }}
{{- else if kindIs "float64" . }}
{{- if eq . (floor .) }}{{ int64 . }}{{ else }}{{ toString . }}{{ end }}
{{- else }}
{{- toString . }}
{{- end }}
{{- end }}
