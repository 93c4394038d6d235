"""What the service reaches, measured: run a module of this package with ``python -m``."""
