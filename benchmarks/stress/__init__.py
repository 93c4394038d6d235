"""What the service does under load, attack and faults."""
