{{/*
What the templates of one role need, as JSON: what it is called, its values, and the settings, secrets and
certificates that hold for it, those of all roles among them.
Takes {root, component, role, sections} and, of a source, {source}. The role's values may be put over `base`.
*/}}
{{- define "moodstream.context" -}}
{{- $root := .root }}
{{- $role := mergeOverwrite (deepCopy (default dict .base)) (deepCopy .role) }}
{{- $settings := mergeOverwrite (deepCopy $root.Values.settings) (deepCopy (default dict $role.settings)) }}
{{- $secrets := mergeOverwrite (deepCopy $root.Values.secrets) (deepCopy (default dict $role.secrets)) }}
{{- $tls := mergeOverwrite (deepCopy $root.Values.tls) (deepCopy (default dict $role.tls)) }}
{{- range $server, $files := $tls }}
{{- if and $files.existingSecret (has $server $.sections) }}
{{- $section := default dict (get $settings $server) }}
{{- $places := dict "ca" "ssl_ca_location" "certificate" "ssl_certificate_location" "key" "ssl_key_location" }}
{{- range $which, $setting := $places }}
{{- with get $files $which }}
{{- $_ := set $section $setting (printf "/etc/moodstream/%s/%s" $server .) }}
{{- end }}
{{- end }}
{{- $_ := set $settings $server $section }}
{{- end }}
{{- end }}
{{- $full := include "moodstream.fullname" $root }}
{{- dict
  "name" (include "moodstream.name" $root)
  "release" $root.Release.Name
  "namespace" $root.Release.Namespace
  "manager" $root.Release.Service
  "chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version)
  "appVersion" $root.Chart.AppVersion
  "component" .component
  "source" .source
  "object" (printf "%s-%s" $full (ternary (printf "source-%s" .source) .component (not (empty .source))))
  "role" $role
  "sections" .sections
  "settings" $settings
  "secrets" $secrets
  "tls" $tls
  "image" (mergeOverwrite (deepCopy $root.Values.image) (deepCopy (default dict $role.image)))
  "serviceAccount" $root.Values.serviceAccountName
  "pullSecrets" $root.Values.imagePullSecrets
  "security" $root.Values.security
  "spread" (ternary $role.topologySpread $root.Values.topologySpread (hasKey $role "topologySpread"))
  | toJson }}
{{- end }}

{{/* The contexts of the roles, each with the sections of settings that it reads. They take the root. */}}
{{- define "moodstream.worker" -}}
{{- $context := include "moodstream.context" (dict "root" . "component" "worker" "role" .Values.worker
  "sections" (list "kafka" "topics" "registry" "model" "batch" "worker" "log" "tracing")) | fromJson }}
{{- $model := default dict $context.settings.model }}
{{- if .Values.worker.models.existingClaim }}
{{- $_ := set $model "store" "/models" }}
{{- end }}
{{- if and .Values.worker.gpu.enabled (not $model.backend) }}
{{- $_ := set $model "backend" "torch" }}
{{- end }}
{{- $cores := include "moodstream.cores" .Values.worker.resources }}
{{- if and $cores (not $model.streams) }}
{{- $_ := set $model "streams" (int $cores) }}
{{- end }}
{{- $_ := set $context.settings "model" $model }}
{{- $context | toJson }}
{{- end }}

{{- define "moodstream.trends" -}}
{{- $context := include "moodstream.context" (dict "root" . "component" "trends" "role" .Values.trends
  "sections" (list "kafka" "topics" "registry" "model" "redis" "trends" "review" "log" "tracing")) | fromJson }}
{{- if .Values.worker.models.existingClaim }}
{{- $_ := set $context.settings "model" (merge (dict "store" "/models") (default dict $context.settings.model)) }}
{{- end }}
{{- $context | toJson }}
{{- end }}

{{- define "moodstream.quality" -}}
{{- include "moodstream.context" (dict "root" . "component" "quality" "role" .Values.quality
  "sections" (list "kafka" "topics" "registry" "quality" "review" "log")) }}
{{- end }}

{{- define "moodstream.topics" -}}
{{- include "moodstream.context" (dict "root" . "component" "topics" "role" .Values.topics
  "sections" (list "kafka" "topics" "log")) }}
{{- end }}

{{/* Takes {root, source}: the name of one. */}}
{{- define "moodstream.source" -}}
{{- include "moodstream.context" (dict "root" .root "component" "source" "source" .source
  "base" .root.Values.source "role" (get .root.Values.sources .source)
  "sections" (list "kafka" "topics" "source" "log")) }}
{{- end }}

{{/* The contexts of all roles that run for ever, as a JSON list. */}}
{{- define "moodstream.roles" -}}
{{- $roles := list }}
{{- range list "worker" "trends" "quality" }}
{{- if (get $.Values .).enabled }}
{{- $roles = append $roles (include (printf "moodstream.%s" .) $ | fromJson) }}
{{- end }}
{{- end }}
{{- range $name, $source := .Values.sources }}
{{- if ternary $source.enabled true (hasKey $source "enabled") }}
{{- $roles = append $roles (include "moodstream.source" (dict "root" $ "source" $name) | fromJson) }}
{{- end }}
{{- end }}
{{- $roles | toJson }}
{{- end }}

{{/* The section of settings that holds a role's port and its time to finish. */}}
{{- define "moodstream.own" -}}
{{- get .settings .component | toJson }}
{{- end }}

{{/* Whole cores of the CPU request, rounded up; nothing without one. */}}
{{- define "moodstream.cores" -}}
{{- $asked := dig "requests" "cpu" "" (default dict .) | toString }}
{{- if hasSuffix "m" $asked }}
{{- divf (trimSuffix "m" $asked | float64) 1000.0 | ceil | int }}
{{- else if $asked }}
{{- $asked | float64 | ceil | int }}
{{- end }}
{{- end }}
