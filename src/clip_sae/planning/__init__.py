"""From a config to every file of a project, known before anything runs. No torch.

artefacts, specs   a file with its spec and digest (still at the top of the package)
reads              what a step reads, and how its function receives it
steps              a rule, and one job of it
sources, stores, saes, final   the artefacts of each stage
plan               all of them for one config
"""
