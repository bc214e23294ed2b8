"""Needs of a config, before anything runs: images, bytes, jobs, hours, disk at peak.

  images     images of each data set and split
  sizes      bytes of stores and SAEs, tokens of a training, disk at peak
  seconds    hours of jobs, from records of measured jobs
  estimate   all quantities of a target, as plain values
  report     the same as text, with advice; command: the verb `plan`

Neither torch nor Snakemake is imported.
"""
