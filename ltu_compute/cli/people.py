"""``ltu-compute people``: whom recognition may name."""

from pathlib import Path

import click

from ltu_compute.cli.resources import opened_store
from ltu_compute.settings import load


@click.group()
def people() -> None:
    """Manage the people whom recognition may name; nobody is, unless you enrol them.

    Kept are embeddings of their faces, no photographs. They are biometric data: in the European
    Union, for example, article 9 of the GDPR asks for explicit consent or another of its grounds.
    """


@people.command("add")
@click.argument("name")
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
def people_add(name: str, photos: tuple[Path, ...]) -> None:
    """Enrol a person by photographs that show their face, and nobody else's."""
    from ltu_compute.image import Image
    from ltu_compute.operations.people import embedding_of_the_only_face
    from ltu_compute.recognisers.available import Recognisers

    current = load()
    recognisers = Recognisers.from_settings(current)
    embeddings = []
    for photo in photos:
        content = photo.read_bytes()
        image = Image.from_bytes(content, max_pixels=current.max_pixels, name=str(photo))
        embeddings.append(embedding_of_the_only_face(image, recognisers))
    opened_store().people.add(name, embeddings)
    count = len(embeddings)
    kept = "1 photograph; it is not kept" if count == 1 else f"{count} photographs; none is kept"
    click.echo(f"{name} enrolled with {kept}")


@people.command("list")
def people_list() -> None:
    """List who is enrolled, and by how many photographs."""
    for name, count in opened_store().people.names():
        click.echo(f"{name}\t{count}")


@people.command("remove")
@click.argument("name")
def people_remove(name: str) -> None:
    """Delete a person: every embedding of theirs."""
    store = opened_store()
    store.people.remove(name)
    store.results.forget("celebrities")  # kept for an hour, they may name who was removed
    click.echo(f"{name} removed")
