{{- define "image-catalog.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "image-catalog.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "image-catalog.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "image-catalog.selector" . }}
{{- end -}}

{{- define "image-catalog.arguments" -}}
{{- with .Values.callers.secretName }}
- --callers=/etc/image-catalog/callers/callers.json
{{- end }}
{{- with .Values.subscriptions.secretName }}
- --subscriptions=/etc/image-catalog/subscriptions/subscriptions.json
{{- end }}
{{- if .Values.metrics.enabled }}
- --metrics-listen=0.0.0.0:{{ .Values.metrics.port }}
{{- end }}
{{- range .Values.options }}
- {{ . | quote }}
{{- end }}
{{- end -}}
