"""Tasks by their ids: the built-in one, and those that an operator maps to models.

The table is a YAML file, named by ``LTU_COMPUTE_TUPUTECH_TASKS``; `ltu-compute tuputech tasks`
checks it::

    - id: 5e1d70adeec2874f7318dc52   # 24 hexadecimal digits, as clients ask for it
      name: violence                 # in messages
      model: my-violence-model       # one that `ltu-compute models` lists, for classification
      labels: [normal, fire, blood]  # names of the model's classes, in the order of the labels
      review_below: 0.7              # a less sure answer is for a person to look at
"""

import logging
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Protocol

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from ltu_compute.errors import BadParameters, ModelFailed, Problem, Unavailable, WrongSetting
from ltu_compute.image import Image
from ltu_compute.operations.moderation import unsafe_content
from ltu_compute.operations.recognition import classify
from ltu_compute.recognisers import unsafe
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import PREFIX, Settings

log = logging.getLogger("ltu_compute")

PORNOGRAPHY = "54bcfc6c329af61034f7c2fc"
PORN, SEXY, NORMAL = range(3)  # its labels
KNOWN = {"5e1d70adeec2874f7318dc52": "violence"}  # of the vendor's document, without a model here
NEAR = 0.15  # of the border between two labels: a person should look
LARGEST_TABLE = 64 << 10  # bytes
REASONS = 5  # that a message lists
MOST_CLASSES = 1000  # of a model, that are looked at


class UnknownTask(BadParameters):
    """A task that is asked for has no model here."""


class NoTask(Unavailable):
    """No task has a model here."""


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

    @property
    def name(self) -> str:
        """Its name in messages."""

    def hindrance(self, recognisers: Recognisers) -> str:
        """Return why it cannot be run, and what to do; "" where it can."""

    def rate(self, image: Image, recognisers: Recognisers) -> Rated:
        """Return what it says of an image."""


@dataclass(frozen=True)
class Pornography:
    """The built-in task: two models, whose disagreement is for a person to look at."""

    id: str = PORNOGRAPHY
    name: str = "pornography"
    labels: tuple[str, ...] = ("porn", "sexy", "normal")

    def hindrance(self, recognisers: Recognisers) -> str:
        """Return how to install its models, where they are not there."""
        if unsafe.is_installed(recognisers.models):
            return ""
        install = f"ltu-compute models install {unsafe.FIRST} {unsafe.SECOND}"
        return f"its models are not installed; to install them: {install}"

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

    @field_validator("labels")
    @classmethod
    def _differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) < len(labels):
            raise ValueError("a label is there twice")
        return labels

    def hindrance(self, recognisers: Recognisers) -> str:
        """Return what is wrong with its model: missing, of another kind, or of other labels."""
        if self.model not in recognisers.models.names():
            return f"its model {self.model} is not installed"
        try:
            model = recognisers.models.find(self.model, "classification")
        except (BadParameters, ModelFailed) as error:
            return str(error)
        known = [label.name for label in model.manifest.classes]
        unknown = [label for label in self.labels if label not in known]
        if not unknown:
            return ""
        return f"its model {self.model} has no label {unknown[0]!r}, but {', '.join(known[:20])}"

    def rate(self, image: Image, recognisers: Recognisers) -> Rated:
        """Return the best label that the model gives.

        Raises
        ------
        BadParameters
            There is no such model.
        """
        found = classify(image, recognisers, max_results=MOST_CLASSES, model=self.model)
        scores = {label.description: label.score for label in found.labels}
        rates = [scores.get(label, 0.0) for label in self.labels]  # 0: below the model's least
        best = max(range(len(rates)), key=rates.__getitem__)
        return Rated(best, rates[best], rates[best] < self.review_below)


@dataclass(frozen=True)
class TaskTable:
    """Every task that has, or may have, a model."""

    tasks: dict[str, Task] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: Settings) -> "TaskTable":
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
        hindered = {task: task.hindrance(recognisers) for task in self.tasks.values()}
        found = [task for task, why in hindered.items() if not why]
        if not found:
            first = list(hindered.items())[:REASONS]
            raise NoTask("no task can be run; " + "; ".join(f"{t.name}: {why}" for t, why in first))
        return found

    def find(self, task_id: str, recognisers: Recognisers) -> Task:
        """Return the task of an id.

        Raises
        ------
        UnknownTask
            There is none, or its model is not installed; the message says what to do.
        """
        task = self.tasks.get(task_id)
        if task is not None:
            advice = task.hindrance(recognisers)
            if not advice:
                return task
        else:
            advice = "there is no such task"
            if task_id in KNOWN:
                advice = f"this service brings no model for {KNOWN[task_id]}"
            advice += f"; map a model of your own to it in {PREFIX}TUPUTECH_TASKS"
        raise UnknownTask(Problem("task", f"task: received {task_id[:64]!r}; {advice}"))

    def report(self, recognisers: Recognisers) -> None:
        """Log the mapped tasks that cannot be run; the built-in one is reported with its models."""
        for task in self.tasks.values():
            hindrance = task.hindrance(recognisers) if isinstance(task, MappedTask) else ""
            if hindrance:
                log.warning("task %s (%s) is not run: %s", task.id, task.name, hindrance)


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
        raise WrongSetting(f"{name}: {path}: {_problems(error)}") from None
    by_id: dict[str, Task] = {task.id: task for task in tasks}
    if len(by_id) < len(tasks):
        raise WrongSetting(f"{name}: {path} has two tasks with the same id")
    if PORNOGRAPHY in by_id:
        raise WrongSetting(
            f"{name}: {path}: task {PORNOGRAPHY} is built in; its labels mean what the vendor's do"
        )
    return by_id


def _problems(error: ValidationError) -> str:
    """Return what is wrong with the table: the place and the reason, the first few."""
    reasons = []
    for detail in error.errors(include_url=False)[:REASONS]:
        where = "the table"
        if detail["loc"]:
            entry, *place = detail["loc"]
            where = ", ".join([f"task {int(entry) + 1}", *map(str, place)])
        reasons.append(f"{where}: {detail['msg']}")
    return "; ".join(reasons)
