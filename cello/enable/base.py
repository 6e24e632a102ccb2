"""What the switches stand on: the host of the features, and what it tells of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cello.errors import ConfigError
from cello.hosting import FeatureHost

if TYPE_CHECKING:
    from cello.extension import Feature
    from cello.review import Deployment, Finding


class Base:
    """The host, and what is common to all switches."""

    _host: FeatureHost

    def note_other_processes(self) -> None:
        """Warn where a host runs this application in processes that its shared memory does not reach."""
        if self._host.shared.regions():
            self._host.shared.note_other_processes()

    def shared_memory_trouble(self) -> str | None:
        """Return what keeps workers on this machine from sharing what the switches count, or None."""
        return self._host.shared.trouble() if self._host.shared.regions() else None

    def review(self, deployment: "Deployment") -> "list[Finding]":
        """Return what the switches find wrong with their settings where the application is to run (`cello check`)."""
        return self._host.review(deployment)

    def features(self) -> "Sequence[Feature]":
        """Return everything that is switched on."""
        return self._host.features()

    def feature(self, name: str) -> Any:
        """Return what `enable_<name>()` switched on, or None where it was not called."""
        return self._host.installed(name)

    def enable(self, feature: "Feature") -> None:
        """Switch on a feature of your own: an object with a name and `install(host)`, see `cello.extension`.

        Raises:
            ConfigError: One of that name is on already, or the application answers requests already.
        """
        self._host.install(feature)

    def _resource(self, name: str, switch: str) -> Any:
        feature = self._host.installed(name)
        if feature is None:
            raise ConfigError(f"there is no {name}: call app.{switch} first")
        return feature.resource  # type: ignore[attr-defined]  # the features of these names have one
