"""Run one step: call its function with the declared arguments, write its result, publish.

`workflow/scripts/step.py`, the only script of the workflow, does nothing else.
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
    output, {key: content} of several, or None if it has written its folder itself. A function that
    writes its own records (`Rule.records`) also publishes them itself.
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
    """Return the module that saves figures; only steps that draw import matplotlib."""
    return import_module("clip_sae.plotting.theme")
