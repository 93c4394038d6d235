"""Recognisers besides the kernels: installed models, models of accounts, and Google."""

from contextlib import nullcontext
from dataclasses import dataclass, replace

from ltu_compute.errors import BadParameters, NotEnabled, Problem, WrongSetting
from ltu_compute.recognisers.custom.models import TrainedModels
from ltu_compute.recognisers.google import Vision
from ltu_compute.recognisers.onnx import Models, ReleaseSlot
from ltu_compute.recognisers.onnx.network import Network
from ltu_compute.settings import PREFIX, Settings


@dataclass(frozen=True)
class Recognisers:
    """The recognisers of a process, as a request may use them.

    Attributes
    ----------
    models : Models
        Installed models, the operator's own among them.
    vision : Vision, optional
        Google, if there is a key.
    google_by_default : bool
        Whether Google answers a request that names neither a provider nor a model.
    release_slot : ReleaseSlot
        Context that is entered while the process waits for a model's process, or for Google.
    trained : TrainedModels, optional
        The models that accounts have trained.
    account_id : str
        The account that asks, which may use its trained models; "" for nobody.
    """

    models: Models
    vision: Vision | None = None
    google_by_default: bool = False
    release_slot: ReleaseSlot = nullcontext
    trained: TrainedModels | None = None
    account_id: str = ""

    @classmethod
    def from_settings(cls, settings: Settings) -> "Recognisers":
        """Return the recognisers that the settings configure.

        Raises
        ------
        WrongSetting
            Google is to answer by default, and there is no key.
        """
        vision = Vision(settings) if settings.google_api_key.get_secret_value() else None
        google_by_default = settings.default_provider == "Google"
        if google_by_default and vision is None:
            raise WrongSetting(
                f"{PREFIX}DEFAULT_PROVIDER: Google needs a key in {PREFIX}GOOGLE_API_KEY"
            )
        return cls(Models.from_settings(settings), vision, google_by_default)

    def idling(self, release_slot: ReleaseSlot) -> "Recognisers":
        """Return the same with another context to enter while it waits."""
        return replace(self, release_slot=release_slot)

    def with_trained(self, trained: TrainedModels) -> "Recognisers":
        """Return the same with the models that accounts have trained."""
        return replace(self, trained=trained)

    def asked_by(self, account_id: str) -> "Recognisers":
        """Return the same for an account, which may use the models that it has trained."""
        return replace(self, account_id=account_id)

    def network(self, name: str, task: str) -> Network:
        """Return a model: one that the account has trained, by its id or name, or an installed one.

        Raises
        ------
        BadParameters
            There is none of that name for that task; the message lists those there are.
        ModelFailed
            It is there, and not usable.
        """
        if self.trained is None or not self.account_id:
            return self.models.find(name, task)
        own = self.trained.find(self.account_id, name, task)
        if own is not None:
            return own
        try:
            return self.models.find(name, task)
        except BadParameters as error:
            (problem,) = error.problems
            mine = ", ".join(self.trained.names(self.account_id, task))
            if not mine:
                raise
            message = f"{problem.message}; trained by the account: {mine}"
            raise BadParameters(Problem("model", message)) from None

    def local(self) -> "Recognisers":
        """Return the same without Google: nothing leaves this machine."""
        return replace(self, vision=None, google_by_default=False)

    def bare(self) -> "Recognisers":
        """Return the same without installed models."""
        return replace(self, models=self.models.none())

    def google(self) -> Vision:
        """Return Google.

        Raises
        ------
        NotEnabled
            There is no key.
        """
        if self.vision is None:
            raise NotEnabled(
                "provider: Google is not enabled on this service; to enable it, set "
                f"{PREFIX}GOOGLE_API_KEY to a key of the Cloud Vision API and restart",
                parameter="provider",
            )
        return self.vision
