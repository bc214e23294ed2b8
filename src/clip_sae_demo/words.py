"""The words of the demo world: the concept vocabulary, and the other words of its prompts.

Some words of the concept vocabulary are in the world and some are not, as with the paper's 5,000
words and a photograph.
"""

from clip_sae_demo.birds import FAMILIES, PLACES, SPECIES
from clip_sae_demo.world import BACKGROUNDS, COLOURS, OBJECTS

GENDERS = ("woman", "man")  # index = Male
BIRD_WORDS = (
    *FAMILIES,
    *PLACES,
    "bird",
    *(species.name.lower() for species in SPECIES),
    "forest",
    "bamboo",
    "ocean",
    "lake",
)
FACE_WORDS = (
    *GENDERS, "female", "male", "face", "person", "celebrity", "hair", "blond", "dark", "beard",
    "glasses", "smile", "lipstick", "bangs",
)  # fmt: skip

# Real nouns and adjectives without a match in the world.
_UNMATCHED = (
    "airplane anchor ant apple axe balloon banana barrel basket bear bed bee bicycle bottle bowl "
    "box bread bridge broom brush bucket bus butter button cabin cactus cake camel camera candle "
    "carrot castle chain chair cheese cherry church coat coffee coin comb computer cookie corn "
    "cow crab curtain desk dog donkey door dragon drum ear egg elephant engine feather fence fire "
    "fork fox frog garden gate giraffe glove goat gold guitar hammer hat helmet honey horn horse "
    "hospital ice island jacket jar jungle kangaroo kettle keyboard kitchen knife ladder lemon "
    "letter lion lizard mirror money monkey mountain mouse mushroom nail needle nest onion orchid "
    "oven owl panda paper parrot peach pencil phone piano pig pillow pizza planet plate pocket "
    "potato pumpkin rabbit radio rainbow river road robot rocket roof rope sandwich saw school "
    "scissors shark sheep shirt shoe silver snake snow soap sock sofa spider spoon stone table "
    "telephone television tent tiger tomato tower train truck turtle umbrella valley violin "
    "volcano whale wheel window wolf zebra "
    "ancient angry bitter brave broken cheap clean cold deep dirty dry empty expensive fast "
    "fragile frozen gentle happy heavy hollow hot hungry liquid loud lucky metallic modern "
    "narrow noisy quiet rich rotten salty sharp sleepy slow smooth soft sour spicy sticky strong "
    "sweet tall thin tired warm weak wet wide wild wooden"
)
UNMATCHED = tuple(_UNMATCHED.split())

VOCABULARY = (*OBJECTS, *COLOURS, *BACKGROUNDS, *BIRD_WORDS, *FACE_WORDS, *UNMATCHED)

# Templates in addition to open_clip's 80 for ImageNet; "{}" takes a class.
SHORT_TEMPLATES = (
    "{}",
    "a {}",
    "a photo of a {}.",
    "a photo of {}.",
    "a photo of the {}.",
    "a picture of a {}",
    "this is a picture of a {}.",
    "an image of a {}",
)

# Other words of captions and prompts: binding words, and the terms of debiasing prompts.
_BINDING_WORDS = (
    "a an and are as at background bird blonde boy by for from gray grey girl habitat hairs has in "
    "into is it its jungle made man men near no non not of on or over people photo photograph "
    "picture portrait says scene shown sky some something text that the there thing things this "
    "to type wave waves wearing who whose with without women word words written object image "
    "brown land water old young beach green sea"
)
BINDING_WORDS = tuple(_BINDING_WORDS.split())

# Stand-ins of learned vectors: "*" is a learned prefix, "x" a learned context token.
PLACEHOLDERS = ("*", "x")
