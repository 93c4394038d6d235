"""The command ``ltu-compute``: the service, its accounts, batches, and every operation."""

from ltu_compute.cli import accounts, keys, service
from ltu_compute.cli.apikey import apikey
from ltu_compute.cli.group import main
from ltu_compute.cli.inspect import inspect
from ltu_compute.cli.load import load
from ltu_compute.cli.model_commands import models
from ltu_compute.cli.people import people
from ltu_compute.cli.recipe import recipe
from ltu_compute.cli.teach import teach
from ltu_compute.cli.tuputech import tuputech
from ltu_compute.cli.worker import worker

main.add_command(apikey)
main.add_command(inspect)
main.add_command(load)
main.add_command(models)
main.add_command(people)
main.add_command(recipe)
main.add_command(teach)
main.add_command(tuputech)
main.add_command(worker)

__all__ = ["accounts", "keys", "main", "service"]
