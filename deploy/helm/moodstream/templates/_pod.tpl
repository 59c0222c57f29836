{{/*
The pod of a role. Takes {context, args} and, where they apply:
  env            variables that are no settings of the values
  probes         true where it serves health and metrics
  linger         seconds for which it still answers after it was told to end
  claim          of the models' volume
  revision       the label that tells revisions of the role apart
  restartPolicy  of what ends by itself
*/}}
{{- define "moodstream.pod" -}}
{{- $context := .context }}
{{- $role := $context.role }}
{{- $claim := default "" .claim }}
metadata:
  labels:
    {{- include "moodstream.selector" $context | nindent 4 }}
    {{- with $role.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or $role.podAnnotations $role.files }}
  annotations:
    {{- with $role.files }}
    # A changed file starts the pods anew.
    checksum/files: {{ toJson . | sha256sum }}
    {{- end }}
    {{- with $role.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
spec:
  # Nothing in it talks to Kubernetes.
  automountServiceAccountToken: false
  # Else each Service of the namespace puts variables here, MOODSTREAM_TRENDS_PORT among them, and a variable
  # that is no setting stops the start.
  enableServiceLinks: false
  securityContext:
    runAsNonRoot: true
    {{- range $key, $value := $context.security }}
    {{- if $value }}
    {{ $key }}: {{ int64 $value }}
    {{- end }}
    {{- end }}
    seccompProfile: {type: RuntimeDefault}
  {{- with $context.serviceAccount }}
  serviceAccountName: {{ . }}
  {{- end }}
  {{- with $context.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with dig "gpu" dict $role }}
  {{- if and .enabled .runtimeClassName }}
  runtimeClassName: {{ .runtimeClassName }}
  {{- end }}
  {{- end }}
  {{- with $role.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $role.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $role.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $role.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and .revision $context.spread }}
  topologySpreadConstraints:
    {{- range $context.spread }}
    - topologyKey: {{ .topologyKey }}
      maxSkew: {{ default 1 .maxSkew | int }}
      whenUnsatisfiable: {{ default "ScheduleAnyway" .whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "moodstream.selector" $context | nindent 10 }}
      # Pods of the earlier revision, which are about to go, do not count.
      matchLabelKeys: [{{ $.revision }}]
    {{- end }}
  {{- end }}
  {{- if .restartPolicy }}
  restartPolicy: {{ .restartPolicy }}
  {{- else }}
  terminationGracePeriodSeconds: {{ include "moodstream.grace" (dict "context" $context "linger" .linger) }}
  {{- end }}
  containers:
    - name: {{ $context.component }}
      image: {{ include "moodstream.image" $context }}
      imagePullPolicy: {{ $context.image.pullPolicy }}
      args: {{ toJson .args }}
      env:
        {{- with .env }}
        {{- . | trim | nindent 8 }}
        {{- end }}
        {{- include "moodstream.env" $context | trim | nindent 8 }}
      {{- if .probes }}
      {{- include "moodstream.probes" $context | nindent 6 }}
      {{- end }}
      {{- with .linger }}
      lifecycle:
        # Connections still come until every node has heard that this pod is going.
        preStop: {exec: {command: [sleep, {{ . | quote }}]}}
      {{- end }}
      resources:
        {{- include "moodstream.resources" $role | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        privileged: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- range $server, $files := $context.tls }}
        {{- if and $files.existingSecret (has $server $context.sections) }}
        - {name: tls-{{ $server }}, mountPath: /etc/moodstream/{{ $server }}, readOnly: true}
        {{- end }}
        {{- end }}
        {{- if $role.files }}
        - {name: files, mountPath: /etc/moodstream/files, readOnly: true}
        {{- end }}
        {{- if $claim }}
        - {name: models, mountPath: /models, readOnly: true}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 256Mi}
    {{- range $server, $files := $context.tls }}
    {{- if and $files.existingSecret (has $server $context.sections) }}
    - name: tls-{{ $server }}
      secret: {secretName: {{ $files.existingSecret }}, defaultMode: 0440}
    {{- end }}
    {{- end }}
    {{- if $role.files }}
    - name: files
      configMap: {name: {{ $context.object }}}
    {{- end }}
    {{- if $claim }}
    - name: models
      persistentVolumeClaim: {claimName: {{ $claim }}, readOnly: true}
    {{- end }}
{{- end }}

{{/* A tag, or a digest (sha256:...) in its place. */}}
{{- define "moodstream.image" -}}
{{- $tag := default .appVersion .image.tag }}
{{- printf "%s%s%s" .image.repository (ternary "@" ":" (hasPrefix "sha256:" $tag)) $tag }}
{{- end }}

{{/*
/livez fails only where the loop hangs, never because Kafka or Redis is away; /readyz says whether it has all
that it needs. A first start may take its time, and is asked more often.
*/}}
{{- define "moodstream.probes" -}}
ports:
  - {name: http, containerPort: {{ include "moodstream.port" . }}, protocol: TCP}
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{- define "moodstream.port" -}}
{{- (include "moodstream.own" . | fromJson).http.port | int }}
{{- end }}

{{/* How long the role may take to finish, 10 s for what it does behind that deadline (5 s at most), and `linger`. */}}
{{- define "moodstream.grace" -}}
{{- $drain := (include "moodstream.own" .context | fromJson).drain_s }}
{{- add (ceil $drain | int) 10 (default 0 .linger) }}
{{- end }}

{{/* Takes a role's values. A GPU cannot be asked for without a limit, and both must be the same. */}}
{{- define "moodstream.resources" -}}
{{- $resources := deepCopy (default dict .resources) }}
{{- with dig "gpu" dict . }}
{{- if .enabled }}
{{- $limits := default dict $resources.limits }}
{{- $_ := set $limits .resource (int .count) }}
{{- $_ := set $resources "limits" $limits }}
{{- end }}
{{- end }}
{{- toYaml $resources }}
{{- end }}
