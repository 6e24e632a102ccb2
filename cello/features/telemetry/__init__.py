"""OpenTelemetry: spans and metrics of what is served, exported by OTLP.

settings    what users may say, and what OTEL_* variables add
switch      the feature: what is installed, started and stopped
spans       the middleware: a server span for each sampled request, next to nothing for the others
tracing     the spans of features, behind `host.spans`
counted     what features count, as metrics of OpenTelemetry
durations   the HTTP server metrics, counted in plain lists
exporting   the SDK's providers, processors and exporters, made after the fork
latest      the process-wide tracer provider, for whoever asks OpenTelemetry's own API
libraries   spans of database drivers, Redis, brokers and HTTP clients
"""
