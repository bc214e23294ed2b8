"""What adaptation gains, and what it changes.

PatchSAE §5.

  base_to_novel        accuracy on base and novel classes, intervals over images and seeds
"""
