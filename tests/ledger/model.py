"""A person's accounts as a child would keep them, and what was answered."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass
class Bubble:
    """What an action earned: in its bubble, or `held` elsewhere."""

    energy_g: int
    saved_g: int
    ripens_at: datetime | None
    expires_at: datetime | None
    held: str = "bubble"
    is_reversed: bool = False

    def is_over(self, now):
        return now >= self.expires_at

    def is_ripe(self, now):
        return self.ripens_at <= now and not self.is_over(now)


@dataclass
class Model:
    """The balances of a book, and its bubbles in the order in which they were earned."""

    available_g: int = 0
    pledged_g: int = 0
    arrears_g: int = 0
    expired_g: int = 0
    saved_g: int = 0
    bubbles: list = field(default_factory=list)

    @property
    def ripening_g(self):
        return sum(b.energy_g for b in self.bubbles if b.held == "bubble")

    @property
    def accounts(self):
        """The columns of its book."""
        return {
            "available": self.available_g,
            "pledged": self.pledged_g,
            "arrears": -self.arrears_g,
            "expired": self.expired_g,
            "ripening": self.ripening_g,
            "saved_g": self.saved_g,
        }

    def award(self, energy_g, saved_g, ripens_at, expires_at):
        held = "bubble" if energy_g else "collected"
        self.bubbles.append(Bubble(energy_g, saved_g, ripens_at, expires_at, held))
        self.saved_g += saved_g

    def collect(self, bubble):
        bubble.held = "collected"
        self.credit(bubble.energy_g)

    def collect_all(self, now):
        """What was collected."""
        ripe = [b for b in self.bubbles if b.held == "bubble" and b.is_ripe(now)]
        for bubble in ripe:
            self.collect(bubble)
        return sum(bubble.energy_g for bubble in ripe)

    def expire(self, now):
        for bubble in self.bubbles:
            if bubble.held == "bubble" and bubble.is_over(now):
                bubble.held = "expired"
                self.expired_g += bubble.energy_g

    def credit(self, amount_g):
        repaid_g = min(self.arrears_g, amount_g)
        self.arrears_g -= repaid_g
        self.available_g += amount_g - repaid_g

    def adjust(self, amount_g):
        if amount_g > 0:
            self.credit(amount_g)
        else:
            self.available_g += amount_g

    def pledge(self, amount_g):
        self.available_g -= amount_g
        self.pledged_g += amount_g

    def cancel(self, amount_g):
        self.pledged_g -= amount_g
        self.credit(amount_g)

    def reverse(self, bubble):
        bubble.is_reversed = True
        self.saved_g -= bubble.saved_g
        if bubble.held == "collected":
            taken_g = min(self.available_g, bubble.energy_g)
            self.available_g -= taken_g
            self.arrears_g += bubble.energy_g - taken_g
        elif bubble.held == "expired":
            self.expired_g -= bubble.energy_g
        bubble.held = "reversed"


@dataclass
class Kept:
    """A request with a key, and its first answer."""

    caller: object
    path: str
    body: dict | None
    key: str
    status: int
    content: bytes

    @property
    def records(self):
        """An action's key is its id, and is kept nowhere else."""
        return self.path == "/v1/me/actions"

    def other_body(self):
        """Other bytes that say nearly the same."""
        match self.body:
            case None:
                return {}
            case {"trees": trees}:
                return self.body | {"trees": trees + 1}
            case {"reason": reason}:
                return self.body | {"reason": f"{reason}!"}
            case {"attributes": attributes}:
                return self.body | {"attributes": attributes | {"steps": 1}}


@dataclass
class Made:
    """A pledge as it was answered."""

    id: str
    trees: int
    is_cancelled: bool = False
