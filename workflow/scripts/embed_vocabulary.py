"""The vocabulary's words and their text embeddings."""

from pathlib import Path

from _job import Job

from clip_sae.architecture import ModelSource
from clip_sae.clip import load_clip
from clip_sae.vocabulary import EmbeddedVocabulary, read_vocabulary
from clip_sae.zeroshot import NAMED_TEMPLATES, class_embeddings

job = Job(snakemake)
arguments = job.arguments
words = read_vocabulary(arguments["words"], sha256=arguments["sha256"], first=arguments["first"])
block = arguments["model"]
model = load_clip(
    ModelSource(block["model"], block["pretrained"]), device=job.device, precision="float32"
)
template = arguments["template"]
prompts = template if template in NAMED_TEMPLATES else [template]
text = class_embeddings(model, words, prompts).cpu().numpy()
path = Path(snakemake.output[0])
EmbeddedVocabulary(tuple(words), text, model.logit_scale).save(path)
job.log.info("%d words, logit scale %.2f", len(words), model.logit_scale)
job.publish(str(path), words=len(words), logit_scale=model.logit_scale)
