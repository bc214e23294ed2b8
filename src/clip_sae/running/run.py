"""Run one step: call its function with what it declared, write what it returns, publish.

`workflow/scripts/step.py` is the only script of the workflow, and this is all that it does.
"""

import sys
from collections.abc import Mapping
from importlib import import_module

from clip_sae.files import write_output
from clip_sae.planning.final import STYLE
from clip_sae.running.job import Job


def run_step(snakemake) -> None:
    """Run the job that Snakemake's `snakemake` object describes.

    The function gets the job and its declared arguments. It returns the content of its only
    output, {key: content} of several, or nothing where it has written its folder itself. A rule
    whose function writes its own records (`Rule.records`) is left alone.
    """
    job = Job(snakemake)
    module, _, name = job.run.partition(":")
    function = getattr(import_module(module), name)
    if torch := sys.modules.get("torch"):  # steps that draw or gather never import it
        torch.set_num_threads(job.threads)  # sums depend on it, in the seventh digit
    if job.draws:
        theme().use_style(job.resources_folder / STYLE)
    content = function(job, **job.arguments)
    if job.records:
        return
    contents = content if isinstance(content, Mapping) else {"": content}
    for key, made in job.made.items():
        facts = {}
        if hasattr(contents.get(key), "savefig"):
            theme().save(contents[key], made.path, made.path.with_suffix(".svg"))
        elif contents.get(key) is not None:
            facts = write_output(made.path, contents[key])
        job.publish(made, **facts)
    job.clear()


def theme():
    """The module that saves figures. Only steps that draw pay for matplotlib."""
    return import_module("clip_sae.plotting.theme")
