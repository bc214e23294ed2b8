"""Scratch memory of a training pass. No paper section: new pages cost as much as a product."""

from __future__ import annotations

import torch


class Workspace:
    """Scratch arrays kept between steps, shared by all SAEs of a pass, which step in turn."""

    def __init__(self) -> None:
        self._arrays: dict[str, torch.Tensor] = {}

    def get(self, name: str, rows: int, columns: int, like: torch.Tensor) -> torch.Tensor:
        """Return an uninitialised [rows, columns] array of `like`'s dtype and device."""
        array = self._arrays.get(name)
        if array is None or array.numel() < rows * columns or array.dtype != like.dtype:
            array = like.new_empty(rows * columns)
            self._arrays[name] = array
        return array[: rows * columns].view(rows, columns)
