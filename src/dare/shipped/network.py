"""Shipped networks by name, and their files, each checked before it is used."""

from dataclasses import dataclass
from pathlib import Path

from dare.shipped.card import CARD, Card, damaged, read_card, sha256

NETWORKS = Path(__file__).parent
"""The folder of each shipped network is in here, under the network's name."""


@dataclass(frozen=True, slots=True)
class ShippedNetwork:
    """A folder with a checkpoint, exported steps, thresholds and a plan, as its card says."""

    folder: Path
    card: Card

    @classmethod
    def at(cls, folder: Path) -> "ShippedNetwork":
        """Read the card of a folder.

        Raises:
            ShippedError: it is missing or damaged.
        """
        return cls(folder, read_card(folder))

    def has(self, place: str) -> bool:
        """Whether it was shipped with this file or folder."""
        return bool(self.card.files_of(place))

    def checked(self, place: str) -> Path:
        """The path of a file, or of a folder, whose content is as it was shipped.

        Raises:
            ShippedError: a file is missing or damaged.
        """
        for name, digest in self.card.files_of(place).items():
            if sha256(self.folder / name) != digest:
                raise damaged(self.folder / name)
        return self.folder / place


def shipped_names() -> list[str]:
    """The names of all shipped networks, sorted."""
    return sorted(path.parent.name for path in NETWORKS.glob(f"*/{CARD}"))


def is_name(model: str | Path) -> bool:
    """Whether a shipped network has this name."""
    path = Path(model)
    return str(path) == path.name and (NETWORKS / path / CARD).is_file()


def located(model: str | Path) -> Path:
    """Where a network is: this path if it exists, otherwise the folder of the shipped network of this name."""
    return NETWORKS / model if is_name(model) and not Path(model).exists() else Path(model)


def shipped_at(path: str | Path) -> ShippedNetwork | None:
    """The shipped network of this name or in this folder; None for anything else.

    Raises:
        ShippedError: its card is damaged.
    """
    folder = located(path)
    return ShippedNetwork.at(folder) if (folder / CARD).is_file() else None
