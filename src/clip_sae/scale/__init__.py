"""What a config costs, before anything runs: images, bytes, device-hours, jobs, disk at peak.

  listing     what the workflow says: jobs, stores, what is missing (through Snakemake)
  images      images of each data set and split
  work        stores, SAEs, and the FLOPs of each job
  rates       how fast this machine was in earlier jobs, or is taken to be
  disk        bytes at peak against bytes free, and advice
  needs       what a target needs of all that, and what is still to be made
  estimate    how long that takes, and the disk at peak; quantities: its values; report: as text

Neither torch nor Snakemake is imported.
"""
