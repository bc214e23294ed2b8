"""Kinds of data sets, one file each: a loader, the published counts, the options.

Nothing lists these files: `planning.kinds` imports them all when the workflow is read.
"""
