"""OpenTelemetry's metrics, as protobuf and as JSON."""
