"""Final files at the results root: gathered tables, figures, tables for readers.

Each file names its own function in the plan of its analysis (src/clip_sae/analyses/*/plan.py).
"""


use rule step as gather with:
    """Join measured rows into a table at the results root."""
    input:
        reads("gather"),
    output:
        makes("gather"),
    log:
        logs("gather"),
    benchmark:
        times("gather")
    localrule: True


use rule step as draw with:
    """Draw a figure from its tables, as PNG and SVG."""
    input:
        reads("draw"),
    output:
        makes("draw"),
    log:
        logs("draw"),
    benchmark:
        times("draw")
    localrule: True


use rule step as draw_images with:
    """Draw a figure that shows images of a data set, as PNG and SVG."""
    input:
        reads("draw_images"),
    output:
        makes("draw_images"),
    log:
        logs("draw_images"),
    benchmark:
        times("draw_images")


use rule step as render with:
    """Render a table for readers, the paper's numbers next to ours, as Markdown and HTML."""
    input:
        reads("render"),
    output:
        makes("render"),
    log:
        logs("render"),
    benchmark:
        times("render")
    localrule: True


use rule step as render_markdown with:
    """Render a table for readers as Markdown."""
    input:
        reads("render_markdown"),
    output:
        makes("render_markdown"),
    log:
        logs("render_markdown"),
    benchmark:
        times("render_markdown")
    localrule: True
