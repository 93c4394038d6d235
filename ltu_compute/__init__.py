"""Self-hosted image analysis that speaks the LTU Compute API v2."""

__version__ = "0.1.0"
