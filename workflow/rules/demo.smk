"""The demo CLIP, trained again from nothing: `snakemake demo_clip` (an hour or two on two cores).

The default target does not contain it: its weights ship in workflow/resources/demo_clip. To use the
new ones, point `model.model` at the folder. Without the plug-in clip_sae_demo there is no such rule.
"""

if "demo_clip" in RULES:

    use rule step as demo_clip with:
        """Train the demo CLIP from nothing and measure it for its card (an hour or two)."""
        input:
            reads("demo_clip"),
        output:
            makes("demo_clip"),
        log:
            logs("demo_clip"),
        benchmark:
            times("demo_clip")
        threads: 2
