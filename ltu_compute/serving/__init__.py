"""The service as processes: preparation, connections, start and stop."""
