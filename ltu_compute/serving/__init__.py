"""The service as processes: what they stand on, their connections, their beginning and end."""
