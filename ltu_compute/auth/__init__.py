"""Authentication of requests: tokens, the keys that sign them, and identity providers."""
