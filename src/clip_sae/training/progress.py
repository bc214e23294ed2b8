"""The progress of a training: a bar, and a line in the log every tenth.

Not in the papers. With several SAEs in the pass each figure is a range over them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tqdm import tqdm


class Progress:
    """Bar and log of one pass of `steps` steps; use as a context manager.

    feed: returns how the tokens arrive, for the lines of the log.
    """

    def __init__(
        self,
        steps: int,
        show_bar: bool,
        log: Callable[[str], None],
        feed: Callable[[], str] | None = None,
    ) -> None:
        self._steps, self._log, self._feed = steps, log, feed
        self._bar = tqdm(
            total=steps, unit="step", disable=not show_bar, mininterval=1.0, dynamic_ncols=True
        )
        self._started = time.monotonic()
        self._tokens = 0
        self._first_step: int | None = None
        self._next_line = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, step: int, n_tokens: int, curves: list[list[dict]]) -> None:
        """Note that `step` steps are done, the last one on `n_tokens` tokens."""
        if self._first_step is None:
            self._first_step = step - 1
            self._bar.update(step - 1)
        self._bar.update(1)
        self._tokens += n_tokens
        rows = [curve[-1] for curve in curves if curve]
        if not rows or rows[0]["step"] != step:
            return
        rate = self._tokens / max(time.monotonic() - self._started, 1e-9)
        text = f"{summary(rows)}, {rate:,.0f} tokens/s"
        self._bar.set_postfix_str(text, refresh=False)
        if step >= self._next_line or step == self._steps:
            self._next_line = step + self._steps / 10
            feed = f"; {self._feed()}" if self._feed else ""
            self._log(f"step {step}/{self._steps}: {text}, {self._eta(step)} left{feed}")

    def _eta(self, step: int) -> str:
        done = step - (self._first_step or 0)
        seconds = (time.monotonic() - self._started) / done * (self._steps - step)
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def summary(rows: list[dict]) -> str:
    """Return loss, L0, explained variance and dead latents of the SAEs of a pass, as ranges."""
    return ", ".join(
        f"{label} {_span([row[key] for row in rows], form)}"
        for label, key, form in (
            ("loss", "loss", ".4g"),
            ("L0", "l0", ".1f"),
            ("EV", "explained_variance", ".3f"),
            ("dead", "dead_latents", "d"),
        )
    )


def _span(values: list[float], form: str) -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low} to {high}"
