"""Traces, for who has set `tracing.endpoint`; nothing of OpenTelemetry's SDK is loaded without.

`opened` gives a role its tracer, or None. What is traced stands beside what it is about: batches in
`worker.stream.batch_spans`, counting in `worker.trends.count_spans`.
"""
