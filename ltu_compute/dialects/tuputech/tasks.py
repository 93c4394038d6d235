"""Tasks by their ids: the built-in one, and those that an operator maps to models.

The table is a YAML file, named by ``LTU_COMPUTE_TUPUTECH_TASKS``::

    - id: 5e1d70adeec2874f7318dc52   # 24 hexadecimal digits, as clients ask for it
      name: violence                 # in messages
      model: my-violence-model       # one that `ltu-compute models` lists, for classification
      labels: [normal, fire, blood]  # names of the model's classes, in the order of the labels
      review_below: 0.7              # a less sure answer is for a person to look at
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ltu_compute.dialects.tuputech.interface import NoTask, UnknownTask
from ltu_compute.errors import Problem, WrongSetting
from ltu_compute.image import Image
from ltu_compute.operations.moderation import unsafe_content
from ltu_compute.operations.recognition import classify
from ltu_compute.recognisers import unsafe
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import PREFIX, Settings

PORNOGRAPHY = "54bcfc6c329af61034f7c2fc"
PORN, SEXY, NORMAL = range(3)  # its labels
KNOWN = {"5e1d70adeec2874f7318dc52": "violence"}  # of the vendor's document, without a model here
NEAR = 0.15  # of the border between two labels: a person should look
LARGEST_TABLE = 64 << 10  # bytes


@dataclass(frozen=True)
class Rated:
    """Result of a task for an image.

    Attributes
    ----------
    label : int
        Index of the label.
    rate : float
        How sure, 0 to 1.
    review : bool
        Whether a person should look.
    """

    label: int
    rate: float
    review: bool


class Task(Protocol):
    """A task with a model."""

    @property
    def id(self) -> str:
        """Id that clients ask for."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels, by their indices."""

    def is_available(self, recognisers: Recognisers) -> bool:
        """Return whether its model is installed."""

    def rate(self, image: Image, recognisers: Recognisers) -> Rated:
        """Return what it says of an image."""


@dataclass(frozen=True)
class Pornography:
    """The built-in task: two models, whose disagreement is for a person to look at."""

    id: str = PORNOGRAPHY
    labels: tuple[str, ...] = ("porn", "sexy", "normal")

    def is_available(self, recognisers: Recognisers) -> bool:
        """Return whether both models are installed."""
        return unsafe.is_installed(recognisers.models)

    def rate(self, image: Image, recognisers: Recognisers) -> Rated:
        """Return porn where both models say so, sexy where the first does, else normal."""
        found = unsafe_content(image, recognisers)
        explicit, suggestive = found.explicit, found.suggestive
        near = abs(explicit - unsafe.EVEN) < NEAR or abs(suggestive - unsafe.EVEN) < NEAR
        review = found.models_disagree or near
        if found.is_explicit:
            return Rated(PORN, explicit, review)
        if suggestive >= unsafe.EVEN:
            return Rated(SEXY, suggestive, review)
        return Rated(NORMAL, 1 - max(explicit, suggestive), review)


class MappedTask(BaseModel):
    """A task that an operator maps to a model of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern="^[0-9a-f]{24}$")]
    name: Annotated[str, Field(min_length=1, max_length=80)]
    model: Annotated[str, Field(min_length=1, max_length=64)]
    labels: Annotated[tuple[str, ...], Field(min_length=2, max_length=100)]
    review_below: Annotated[float, Field(ge=0, le=1)] = 0.7

    def is_available(self, recognisers: Recognisers) -> bool:
        """Return whether its model is installed."""
        return self.model in recognisers.models.names()

    def rate(self, image: Image, recognisers: Recognisers) -> Rated:
        """Return the best label that the model gives.

        Raises
        ------
        BadParameters
            There is no such model.
        """
        found = classify(image, recognisers, max_results=1000, model=self.model)
        scores = {label.description: label.score for label in found.labels}
        rates = [scores.get(label, 0.0) for label in self.labels]
        best = max(range(len(rates)), key=rates.__getitem__)
        return Rated(best, rates[best], rates[best] < self.review_below)


@dataclass(frozen=True)
class TaskTable:
    """Every task that has, or may have, a model."""

    tasks: dict[str, Task] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> "TaskTable":
        """Return the built-in task and those of the operator's table.

        Raises
        ------
        WrongSetting
            The table cannot be read, or is not one.
        """
        built_in: Task = Pornography()
        return cls({built_in.id: built_in} | _mapped(settings.tuputech_tasks))

    def available(self, recognisers: Recognisers) -> list[Task]:
        """Return the tasks whose models are installed.

        Raises
        ------
        NoTask
            There are none.
        """
        found = [task for task in self.tasks.values() if task.is_available(recognisers)]
        if not found:
            raise NoTask(
                "no task has a model; to install that of pornography: ltu-compute models install "
                f"{unsafe.FIRST} {unsafe.SECOND}"
            )
        return found

    def find(self, task_id: str, recognisers: Recognisers) -> Task:
        """Return the task of an id.

        Raises
        ------
        UnknownTask
            There is none, or its model is not installed; the message says what to do.
        """
        task = self.tasks.get(task_id)
        if task is not None and task.is_available(recognisers):
            return task
        if task_id == PORNOGRAPHY:
            advice = f"to install its models: ltu-compute models install {unsafe.FIRST} "
            advice += unsafe.SECOND
        elif isinstance(task, MappedTask):
            advice = f"its model {task.model} is not installed"
        else:
            what = f" ({KNOWN[task_id]})" if task_id in KNOWN else ""
            advice = f"no model is mapped to it{what}; map one in {PREFIX}TUPUTECH_TASKS"
        raise UnknownTask(Problem("task", f"task: received {task_id[:64]!r}; {advice}"))


@cache
def _mapped(path: Path | None) -> dict[str, Task]:
    """Return the operator's tasks by id; read once."""
    if path is None:
        return {}
    name = f"{PREFIX}TUPUTECH_TASKS"
    try:
        if path.stat().st_size > LARGEST_TABLE:
            raise WrongSetting(f"{name}: {path} has more than {LARGEST_TABLE} bytes")
        listed = yaml.safe_load(path.read_bytes())
        tasks = TypeAdapter(list[MappedTask]).validate_python(listed)
    except (OSError, yaml.YAMLError) as error:
        raise WrongSetting(f"{name}: {path} cannot be read: {error}") from None
    except ValidationError as error:
        raise WrongSetting(f"{name}: {path}: {error}") from None
    return {task.id: task for task in tasks}
