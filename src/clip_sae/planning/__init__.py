"""From a config to every file of a project, known before anything runs. No torch.

artefacts, specs               a file with its spec and digest
reads, inputs                  reads of a step, and the values its function receives for them
steps                          a rule, and one job of it
sources, stores, saes, final   the artefacts of each stage
plan                           all artefacts of one config
staleness, turns, temporary    outdated artefacts; stores that are deleted after use
jobs, scatter                  steps as Snakemake's jobs, and parts of a job
config, mistakes, questions    checks of the config
"""
