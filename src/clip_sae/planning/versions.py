"""Versions of the expensive stages: raised by hand when the numbers that a stage writes change.

A version is part of the stage's digest, so raising it rebuilds that stage and all that follows.
Cheap stages carry a digest of their code instead (`specs.code_digest`). Golden tests fail where a
stage's output changes and its version does not.
"""

DRAW_VERSION = 1  # the demo world's pictures (clip_sae_demo)
ATTACK_VERSION = 1  # attacked copies of data sets (clip_sae.datasets.attack)
INDEX_VERSION = 1  # manifests (clip_sae.datasets)
EXTRACT_VERSION = 1  # activation stores (clip_sae.extraction, clip_sae.clip, clip_sae.store)
TRAIN_VERSION = 2  # sparse autoencoders (clip_sae.training, clip_sae.sae)
ADAPT_VERSION = 1  # learned prompts (clip_sae.adaptation)
PRETRAIN_VERSION = 2  # the demo CLIP's weights (clip_sae_demo.pretrain)

# Their entries in the record of each stage: a job compares the planned ones with its own code.
STAGE_VERSIONS = {
    "draw": {"version": DRAW_VERSION},
    "attack": {"version": ATTACK_VERSION},
    "index": {"version": INDEX_VERSION},
    "extract": {"version": EXTRACT_VERSION},
    "extract_adapted": {"version": EXTRACT_VERSION, "adapt_version": ADAPT_VERSION},
    "train": {"version": TRAIN_VERSION},
    "train_adaptation": {"version": ADAPT_VERSION},
}
