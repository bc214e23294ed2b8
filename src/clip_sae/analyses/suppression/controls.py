"""Sets that nothing but chance chose: of the same number of units, or of the same mass.

Steering paper §7.1.1 ("random ablations in both the SAE and original CLIP feature spaces"). A
random latent is nearly always silent, so that equal numbers make an easy control; of equal mass, a
random set takes as much of each token away as the chosen one does.
"""

import numpy as np

MASS_TOLERANCE = 0.05
TRIES = 20


def random_set(pool: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n` units of `pool` (fewer if it has fewer), ascending."""
    return np.sort(rng.choice(pool, size=min(n, len(pool)), replace=False))


def random_set_of_mass(
    pool: np.ndarray,
    mass: np.ndarray,
    target: float,
    rng: np.random.Generator,
    tolerance: float = MASS_TOLERANCE,
) -> np.ndarray | None:
    """Return units of `pool`, ascending, whose masses add up to `target` within `tolerance` of it.

    Units are taken in a random order while they bring the sum nearer to the target, passing over
    those that would exceed it by more than the tolerance, so that sums lie on both sides of it.
    Where an order cannot fill it, another is tried; None where none of them can, or for no mass.

    Args:
        pool: unit indices.
        mass: [unit], as of `Contrast.mass`.
    """
    if target <= 0:
        return None
    for _ in range(TRIES):
        taken, total = [], 0.0
        for unit in rng.permutation(pool):
            nearer = abs(total + mass[unit] - target) < abs(total - target)
            if nearer and total + mass[unit] <= (1 + tolerance) * target:
                taken.append(unit)
                total += mass[unit]
            elif total >= (1 - tolerance) * target:  # the first that does not bring it nearer
                break
        if abs(total - target) <= tolerance * target:
            return np.sort(np.asarray(taken, dtype=np.int64))
    return None
