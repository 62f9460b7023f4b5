"""What the app's code of one generation does when it is run."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Code:
    """One generation's code.

    Attributes:
        import_s: How long the import takes; inf: it hangs.
        import_status: The forkserver exits with it; None: it goes well.
        boot_s: How long a worker boots; inf: it hangs.
        boot_status: The worker exits with it instead of getting ready.
        life_s: A worker dies this long after it was ready; inf: it lives on.
        is_healthy: What the health path answers; None: nothing.
        has_tasks: It has tasks that run once.
    """

    import_s: float = 0.2
    import_status: int | None = None
    boot_s: float = 0.1
    boot_status: int | None = None
    life_s: float = float("inf")
    is_healthy: bool | None = True
    has_tasks: bool = True

    @property
    def is_good(self) -> bool:
        good = Code(self.import_s, boot_s=self.boot_s, has_tasks=self.has_tasks)
        return self == good and self.boot_s < 1.0


def write_good_code(rng: Random) -> Code:
    return Code(import_s=rng.uniform(0.01, 0.5), boot_s=rng.uniform(0.01, 0.3))


def write_code(rng: Random) -> Code:
    """Mostly good code, else with one of the faults that people deploy."""
    import_s, boot_s = rng.uniform(0.01, 0.5), rng.uniform(0.01, 0.3)
    fault = rng.randrange(20)
    match fault:
        case 0:
            return Code(import_s, import_status=rng.choice((1, 4, -9)))
        case 1:
            return Code(import_s=float("inf"))
        case 2:
            return Code(import_s, boot_s=boot_s, boot_status=rng.choice((0, 3, -11)))
        case 3:
            return Code(import_s, boot_s=float("inf"))
        case 4 | 5:
            return Code(import_s, boot_s=boot_s, life_s=rng.uniform(0.0, 2.0))
        case 6:
            return Code(import_s, boot_s=boot_s, is_healthy=rng.choice((False, None)))
        case 7:
            return Code(import_s, boot_s=rng.uniform(1.0, 6.0))
        case _:
            return Code(import_s, boot_s=boot_s, has_tasks=rng.random() < 0.8)
