"""Train the prompts of one method with one seed on a few images of the base classes."""

from pathlib import Path

import pandas as pd
from _adaptation import class_names, load_model, pixels_of, usable
from _job import Job

from clip_sae.adaptation import Prompts, PromptSpec, save_prompts
from clip_sae.adaptation.few_shot import ClassHalves, choose_shots
from clip_sae.adaptation.text_side import first_words, text_width
from clip_sae.adaptation.training import AdaptationSettings, train_prompts
from clip_sae.adaptation_plan import WEIGHTS
from clip_sae.specs import write_text

job = Job(snakemake)
arguments = job.arguments
method, seed = arguments["method"], arguments["seed"]
folder = Path(snakemake.output[0]).parent
model = load_model(job)
names = class_names(arguments["index"])
halves = ClassHalves(len(names))
manifest = usable(arguments["index"], arguments["split"])
rows, fewer = choose_shots(manifest["label_idx"].to_numpy(), halves.base, arguments["shots"], seed)
for label, n in fewer.items():
    job.log.info("class %r has %d images, not %d", names[label], n, arguments["shots"])
shots = manifest.iloc[rows]

n_context = method["n_context"] or 0
spec = PromptSpec(
    method["kind"],
    arguments["template"],
    n_context=n_context,
    n_visual=n_context if method["kind"] == "maple" else method["n_visual"] or 0,
    depth=1 if method["kind"] == "coop" else method["depth"],
)
words = None
if n_context and method["start"] == "words":
    words = first_words(model, spec.template, n_context)
prompts = Prompts(spec, text_width(model), model.architecture.d_model, seed=seed, words=words)
settings = AdaptationSettings(
    **{key: method[key] for key in ("lr", "epochs", "batch_images", "weight_decay")},
    **{key: method[key] for key in ("warmup_epochs", "warmup_lr")},
    seed=seed,
)
folder.mkdir(parents=True, exist_ok=True)
state = folder / "state.safetensors"
history = train_prompts(
    model,
    prompts,
    pixels_of(shots, arguments["data_root"], arguments["decoding"]),
    shots["label_idx"].to_numpy(),
    [names[label] for label in halves.base],
    settings,
    state=state,
    log=job.log.info,
)
save_prompts(folder / WEIGHTS, prompts, {"model": arguments["model"]["name"]})
table = pd.DataFrame([vars(epoch) for epoch in history])
table.insert(0, "epoch", range(1, len(table) + 1))
write_text(folder / "epochs.csv", table.to_csv(index=False))
write_text(folder / "shots.csv", shots[["path", "label_idx"]].to_csv())
job.publish(snakemake.output[0], images=len(shots))
state.unlink()  # only now: a job that dies before this line resumes from it
