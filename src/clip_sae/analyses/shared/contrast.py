"""Group means of every unit, and the gap between images with the attribute and without.

Steering paper Eq. 9: E_{x ~ D_A}[f_j(x)] − E_{x ~ D_Ā}[f_j(x)]. All variants (which tokens, plain
or label-balanced, either direction) come from the same sums: the store is read once. NumPy only.
"""

from dataclasses import dataclass

import numpy as np

TOKENS = ("all", "patch", "cls")
CONTRASTS = ("plain", "balanced")


@dataclass(frozen=True)
class Contrast:
    """Sums of one kind of units over a training split.

    Attributes:
        cls_sum: [group, unit], over the group's images, of the value at CLS.
        patch_sum: [group, unit], over the group's images and their patches.
        cls_size, patch_size: [unit], over all images (and patches), of |value| · ‖n_j‖.
        alive: [unit] bool, True where the unit is above 0 on some token.
        n_images: [group].
        n_patches: patches of one image, whole number [].
    """

    cls_sum: np.ndarray
    patch_sum: np.ndarray
    cls_size: np.ndarray
    patch_size: np.ndarray
    alive: np.ndarray
    n_images: np.ndarray
    n_patches: np.ndarray

    @property
    def n_units(self) -> int:
        return self.cls_sum.shape[1]

    def gap(self, tokens: str = "all", contrast: str = "plain") -> np.ndarray:
        """Return [unit]: mean over images with the attribute minus mean over those without.

        Args:
            tokens: "all", "patch" or "cls": a unit's value on an image is its mean over them.
            contrast: "plain" takes D_A and D_Ā as they come. "balanced" is the mean over the two
                labels of the gap within a label, so that units of the label, with which the
                attribute correlates in a biased set, cancel.
        """
        means = self._per_token(tokens)  # [group unit], sums over images of image means
        if contrast == "plain":
            present, absent = (means[a::2].sum(0) / self._count(a) for a in (1, 0))
            return present - absent
        if contrast == "balanced":
            if self.n_images.min() == 0:
                raise ValueError(
                    f"a balanced contrast needs training images in all four groups, which hold "
                    f"{self.n_images.tolist()}. Write `contrast: plain`."
                )
            by_group = means / self.n_images[:, None]
            return (by_group[1::2] - by_group[0::2]).mean(0)
        raise ValueError(f"contrast {contrast!r} does not exist; write {', '.join(CONTRASTS)}.")

    def mean(self, tokens: str = "all") -> np.ndarray:
        """Return [unit]: mean value over all images, for mean- instead of zero-ablation."""
        return self._per_token(tokens).sum(0) / self.n_images.sum()

    def mass(self, tokens: str = "all") -> np.ndarray:
        """Return [unit]: mean |value| · ‖n_j‖, the part of a token that an ablation removes."""
        return self._of_tokens(tokens, self.cls_size, self.patch_size) / self.n_images.sum()

    def _count(self, attribute: int) -> int:
        n = int(self.n_images[attribute::2].sum())
        if n == 0:
            side = "with" if attribute else "without"
            raise ValueError(
                f"no training image is {side} the attribute, so there is nothing to compare. "
                "Check the set's manifest.csv."
            )
        return n

    def _per_token(self, tokens: str) -> np.ndarray:
        return self._of_tokens(tokens, self.cls_sum, self.patch_sum)

    def _of_tokens(self, tokens: str, cls: np.ndarray, patch: np.ndarray) -> np.ndarray:
        """Sum over images of the mean over `tokens`, from sums at CLS and over patches."""
        n = int(self.n_patches)
        if tokens == "cls":
            return cls
        if tokens not in TOKENS:
            raise ValueError(f"tokens {tokens!r} do not exist; write {', '.join(TOKENS)}.")
        if n == 0:
            raise ValueError(
                "only CLS was read here, as nothing else of this layer reaches the embedding. "
                "Write `tokens: cls`."
            )
        return patch / n if tokens == "patch" else (cls + patch) / (1 + n)
