"""Connections to elsewhere: remote images, and a deadline for each connection."""
