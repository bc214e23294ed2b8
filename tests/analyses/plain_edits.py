"""Slow twins of the edits in `clip_sae.analyses.shared.edits`, by their definitions."""

import torch


def set_latents(x, sae, latents, values=0.0, error="keep"):
    """Return decode(f with f_j := s_j), plus the SAE's error x − decode(f) unless it is dropped."""
    code = sae.encode(x)
    edited = code.latents.clone()
    edited[..., torch.as_tensor(latents, dtype=torch.long)] = torch.as_tensor(values, dtype=x.dtype)
    decoded = sae.decode(edited, code.mean, code.std)
    return decoded if error == "drop" else decoded + x - sae.decode(*code_of(code))


def code_of(code):
    return code.latents, code.mean, code.std


def set_coordinates(x, coordinates, value):
    """Return x with some of its coordinates set to a number."""
    edited = x.clone()
    edited[..., coordinates] = value
    return edited
