"""Read a config against the schema: fill in defaults and turn each mistake into a sentence.

Known to the Snakefile, so no torch: jsonschema, PyYAML and the standard library.
"""

import copy
import difflib
from pathlib import Path

import jsonschema
import yaml

from clip_sae.planning.architecture import Architecture, ModelSource, architecture
from clip_sae.planning.kinds import kind_mistakes, with_kinds
from clip_sae.planning.mistakes import Checked
from clip_sae.planning.questions import questions, with_questions
from clip_sae.planning.recipes import RecipeError, SaeRecipe, recipe_schema

# Keys of an SAE's section that name its tokens; the rest is the recipe itself.
TOKEN_KEYS = ("dataset", "split", "hook", "layers", "stream")


class ConfigError(ValueError):
    """The config cannot be used; the text says what to change, one line per mistake."""


def load_config(path: Path, schema_path: Path) -> dict:
    """Read a YAML file and return it validated, defaults filled in (see `validate_config`)."""
    with open(path, encoding="utf-8") as file:
        return validate_config(yaml.safe_load(file) or {}, schema_path)


def validate_config(config: dict, schema_path: Path) -> dict:
    """Return `config` with defaults filled in, or raise ConfigError naming every mistake.

    Checks the schema first (types, ranges, unknown keys), then rules beyond a schema: the layers of
    the model, names that refer to each other, recipes that can be trained.
    """
    schema = yaml.safe_load(Path(schema_path).read_text(encoding="utf-8"))
    with_kinds(with_questions(schema))
    schema["$defs"]["sae"]["properties"] |= recipe_schema()
    filled = copy.deepcopy(config)
    _fill_defaults(filled, schema, schema)
    validator = _with_references(filled)(schema)
    errors = sorted(validator.iter_errors(filled), key=lambda error: list(map(str, error.path)))
    _raise_if([sentence for error in errors for sentence in _sentences(error)])
    _raise_if(list(_semantic_mistakes(filled)))
    return filled


def sae_recipes(config: dict, name: str) -> list[tuple[str, SaeRecipe]]:
    """Return [(variant, recipe)] of one section under `saes`."""
    section = {key: value for key, value in config["saes"][name].items() if key not in TOKEN_KEYS}
    return SaeRecipe.from_config(name, section)


def _with_references(config: dict) -> type:
    """Return a validator for `refersTo: SECTION`: the text must name an entry of that section."""

    def refers(validator, section, name, schema):
        names = config.get(section)
        if isinstance(names, dict) and isinstance(name, str) and name not in names:
            existing = ", ".join(map(str, names))
            yield jsonschema.ValidationError(
                f"{name!r} is not under `{section}`; its entries: {existing}"
            )

    return jsonschema.validators.extend(jsonschema.Draft202012Validator, {"refersTo": refers})


def _variants(config: dict, name: str) -> list[str]:
    """Return names of a recipe's variants; none for a recipe that cannot be trained."""
    try:
        return [variant for variant, _ in sae_recipes(config, name)]
    except RecipeError:
        return []  # `_recipe_mistakes` reports it


def _raise_if(mistakes: list[str]) -> None:
    mistakes = list(dict.fromkeys(mistakes))  # variants of a recipe repeat a mistake
    if mistakes:
        head = f"the config has {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}:"
        raise ConfigError("\n  ".join([head, *mistakes]))


def _resolve(schema: dict, root: dict) -> dict:
    while "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = {**target, **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def _fill_defaults(value: object, schema: dict, root: dict) -> None:
    """Add the schema's defaults to `value`, in place, at every depth."""
    if not isinstance(value, dict):
        return
    schema = _resolve(schema, root)
    for key, sub in schema.get("properties", {}).items():
        sub = _resolve(sub, root)
        if key not in value and "default" in sub:
            value[key] = copy.deepcopy(sub["default"])
        if key in value:
            _fill_defaults(value[key], sub, root)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for key in value.keys() - schema.get("properties", {}).keys():
            _fill_defaults(value[key], extra, root)


def _sentences(error: jsonschema.ValidationError) -> list[str]:
    path = list(error.path)
    if error.validator == "refersTo":  # an item of a list is named by its text
        path = [part for part in path if not isinstance(part, int)]
        return [f"{'.'.join(path)}: {error.message}."]
    where = ".".join(map(str, path)) or "the config"
    found = error.instance
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(found) - set(known))
        return [_unknown_key(where, key, known) for key in unknown]
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(found))
        return [
            f"{where}: the key `{key}` is missing{_describe(error.schema, key)}." for key in missing
        ]
    texts = [item for item in _items(found) if isinstance(item, str) and _as_number(item)]
    if texts and _wants_number(error):
        return [
            f"{where}: {text!r} is text, not a number. YAML reads 1e-3 as text: "
            f"write {_yaml_number(float(text))}."
            for text in texts
        ]
    if error.validator == "enum":
        close = difflib.get_close_matches(str(found), list(map(str, error.validator_value)), 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        allowed = ", ".join(map(repr, error.validator_value))
        return [f"{where}: {found!r} is not one of {allowed}.{hint}"]
    description = error.schema.get("description") if isinstance(error.schema, dict) else None
    tail = f" ({description})" if description else ""
    return [f"{where}: {error.message}{tail}."]


def _unknown_key(where: str, key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(known)}."
    return f"{where}: unknown key `{key}`; {hint}"


def _describe(schema: dict, key: str) -> str:
    description = schema.get("properties", {}).get(key, {}).get("description")
    return f" ({description})" if description else ""


def _items(value: object) -> list:
    return value if isinstance(value, list) else [value]


def _wants_number(error: jsonschema.ValidationError) -> bool:
    return any(kind in str(error.validator_value) for kind in ("number", "integer"))


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _yaml_number(number: float) -> str:
    text = f"{number:g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"
    return text


def _semantic_mistakes(config: dict):
    try:
        model = model_architecture(config)
    except (ValueError, OSError) as error:
        yield f"model: {error}"
        model = None
    if model:
        yield from _layer_mistakes(config, model)
    yield from kind_mistakes(config["datasets"])
    yield from _recipe_mistakes(config, model)
    checked = Checked(config, model, {name: _variants(config, name) for name in config["saes"]})
    for question in questions():
        yield from question.mistakes(checked)


def model_architecture(config: dict) -> Architecture:
    """Return the geometry of the configured CLIP, read without loading it."""
    return architecture(ModelSource(config["model"]["model"], config["model"]["pretrained"]))


def _layer_mistakes(config: dict, model: Architecture):
    layers_at = {"activations.layers": config["activations"]["layers"]}
    layers_at |= {f"saes.{name}.layers": entry["layers"] for name, entry in config["saes"].items()}
    for where, layers in layers_at.items():
        for layer in layers:
            if layer >= model.n_layers:
                yield (
                    f"{where}: layer {layer} does not exist; {config['model']['model']} has "
                    f"{model.n_layers} layers, numbered 0 to {model.n_layers - 1}."
                )
    extracted = config["activations"]["layers"]
    for name, entry in config["saes"].items():
        missing = [layer for layer in entry["layers"] if layer not in extracted]
        if missing:
            yield (
                f"saes.{name}.layers: layers {missing} are not extracted; add them to "
                f"activations.layers ({extracted})."
            )


def _recipe_mistakes(config: dict, model: Architecture | None):
    for name in config["saes"]:
        try:
            for _, recipe in sae_recipes(config, name):
                if model:
                    recipe.check_width(name, model.d_model)
        except RecipeError as error:
            yield f"saes.{name}: {error}"
