"""``python -m ltu_compute.cli``."""

from ltu_compute.cli import main

main(prog_name="ltu-compute")
