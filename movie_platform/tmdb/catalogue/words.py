"""The vocabulary of the synthetic films, and what each word is worth to the rating.

Words only; how films are made of them belongs in `synthetic`. Each number is added to a film's quality
(points of the ten-point scale). They are arbitrary: they give a model something true to find, they say
nothing about films. Changing anything here changes the synthetic catalogue.
"""

__all__ = [
    "COMPLICATIONS",
    "GENRES",
    "GOALS",
    "HEROES",
    "LANGUAGES",
    "NATIVE_TITLES",
    "OVERVIEWS",
    "PLACES",
    "SETTINGS",
    "TITLES",
    "TITLE_ADJECTIVES",
    "TITLE_NOUNS",
    "TRAITS",
]

GENRES = {
    "Drama": (30, 0.35),
    "Comedy": (20, -0.15),
    "Thriller": (11, -0.2),
    "Romance": (10, 0.0),
    "Action": (10, -0.3),
    "Horror": (9, -0.75),
    "Crime": (8, 0.1),
    "Documentary": (7, 0.6),
    "Adventure": (6, -0.05),
    "Family": (5, 0.0),
    "Science Fiction": (6, -0.35),
    "Animation": (6, 0.4),
    "Fantasy": (5, -0.1),
    "Mystery": (5, 0.0),
    "History": (4, 0.4),
    "Music": (3, 0.45),
    "War": (3, 0.4),
    "TV Movie": (2, -0.6),
    "Western": (2, 0.05),
}
"""Name: how often, worth."""

LANGUAGES = {
    "en": (46, -0.1),
    "fr": (9, 0.1),
    "ja": (8, 0.35),
    "es": (7, 0.0),
    "hi": (6, -0.3),
    "de": (5, -0.1),
    "it": (5, 0.0),
    "ko": (4, 0.35),
    "zh": (4, 0.05),
    "pt": (2, 0.15),
    "sv": (2, 0.1),
    "tr": (2, -0.35),
}
"""Code: how often, worth."""

NATIVE_TITLES = {
    "fr": ("Les nuits de {place}", "Un hiver à {place}", "La dernière lettre de {place}"),
    "ja": ("{place}の夜", "{place}物語", "さよなら、{place}"),
    "es": ("La noche de {place}", "Volver a {place}", "El silencio de {place}"),
    "hi": ("{place} की रात", "{place} का सफ़र"),
    "de": ("Die Nacht von {place}", "Zurück nach {place}", "Das Schweigen über {place}"),
    "it": ("La notte di {place}", "Ritorno a {place}", "L'estate di {place}"),
    "ko": ("{place}의 밤", "{place}로 가는 길"),
    "zh": ("{place}之夜", "再見{place}"),
    "pt": ("A noite de {place}", "Saudades de {place}"),
    "sv": ("Natten i {place}", "Vägen till {place}"),
    "tr": ("{place} Geceleri", "{place} Yolu"),
}

TITLES = (
    "The {adjective} {noun}",
    "The {noun} of {place}",
    "{adjective} {noun}",
    "A {noun} in {place}",
    "The {noun} and the {other}",
    "Beyond the {noun}",
    "{place}, My {noun}",
    "The Last {noun}",
    "Return to {place}",
    "Before the {noun}",
    "No {noun} for {place}",
    "The {adjective} {noun} of {place}",
)

TITLE_ADJECTIVES = {
    "Quiet": 0.2, "Broken": 0.05, "Crimson": -0.15, "Distant": 0.15, "Golden": 0.05, "Hollow": -0.1,
    "Silent": 0.15, "Burning": -0.1, "Forgotten": 0.1, "Secret": -0.05, "Savage": -0.25, "Gentle": 0.2,
    "Northern": 0.1, "Restless": 0.0, "Electric": -0.1, "Paper": 0.15, "Deadly": -0.35, "Borrowed": 0.1,
    "Midnight": -0.05, "Invisible": 0.05, "Amber": 0.1, "Salt": 0.15, "Blind": 0.0, "Wild": -0.05,
}  # fmt: skip

TITLE_NOUNS = {
    "Harbour": 0.1, "Lighthouse": 0.1, "Orchard": 0.15, "Letter": 0.15, "Garden": 0.1, "Bridge": 0.05,
    "River": 0.1, "Carnival": -0.05, "Clockmaker": 0.1, "Violin": 0.2, "Wolf": -0.1, "Curse": -0.35,
    "Mirror": 0.0, "Summer": 0.05, "Stranger": -0.05, "Promise": 0.0, "Vengeance": -0.3, "Island": 0.0,
    "Kingdom": -0.05, "Shadow": -0.15, "Witness": 0.1, "Protocol": -0.25, "Wedding": -0.15, "Map": 0.05,
    "Train": 0.05, "Storm": -0.1, "Song": 0.15, "Heist": -0.05, "Photograph": 0.15, "Daughter": 0.1,
    "Winter": 0.1, "Machine": -0.05, "Portrait": 0.2, "Massacre": -0.4, "Journey": 0.0, "Archive": 0.05,
}  # fmt: skip

PLACES = (
    "Lisbon", "Marseille", "Kyoto", "Glasgow", "Montevideo", "Trieste", "Tangier", "Busan", "Gdansk",
    "Valparaíso", "Odessa", "Bergen", "Jaipur", "Havana", "Leipzig", "Savannah", "Malmö", "Izmir", "Tainan",
    "Porto", "Detroit", "Naples", "Galway", "Hanoi", "Alexandria", "Antwerp", "Santa Fe", "Seville", "Riga",
    "Mombasa",
)  # fmt: skip

OVERVIEWS = (
    "{Hero} {goal} {setting}. {complication}",
    "{Hero} {goal} {setting}.",
    "{Hero} {goal}. {complication}",
    "{Setting}, {hero} {goal}. {complication}",
    "{Setting}, {hero} meets {other} who {goal}. {complication}",
    "The story of {hero} who {goal} {setting}. {complication}",
    "{Hero} and {other} meet {setting}. {complication}",
)

TRAITS = {
    "grieving": 0.35, "retired": 0.2, "wisecracking": -0.35, "stubborn": 0.1, "reckless": -0.25,
    "gifted": 0.1, "lonely": 0.3, "disgraced": 0.05, "ambitious": -0.05, "newly divorced": -0.15,
    "ageing": 0.35, "small-town": 0.0, "clumsy": -0.4, "exiled": 0.3, "cynical": 0.0, "runaway": -0.05,
    "rookie": -0.3,
    "blind": 0.25, "penniless": 0.15, "spoiled": -0.35,
}  # fmt: skip

HEROES = {
    "detective": 0.0, "schoolteacher": 0.2, "boxer": 0.15, "violinist": 0.25, "surgeon": 0.0, "farmer": 0.2,
    "journalist": 0.1, "influencer": -0.5, "taxi driver": 0.15, "widow": 0.2, "smuggler": 0.0,
    "astronaut": -0.05, "cheerleader": -0.4, "translator": 0.25, "bounty hunter": -0.3, "chess champion": 0.1,
    "nurse": 0.1, "babysitter": -0.35, "fisherman": 0.25, "lawyer": 0.0, "stuntman": -0.15, "nun": 0.05,
    "thief": 0.0, "postman": 0.15,
}  # fmt: skip

GOALS = {
    "searches for a missing brother": 0.05,
    "takes one last job": -0.2,
    "returns home after twenty years": 0.3,
    "inherits a house nobody dares to enter": -0.3,
    "looks after a child that is not theirs": 0.3,
    "sets out to save the family business": -0.1,
    "witnesses a crime the police deny": -0.05,
    "falls for a rival": -0.15,
    "tries to win back a first love": -0.15,
    "reopens a case that was closed too soon": 0.05,
    "crosses the border with forged papers": 0.25,
    "wakes up with no memory of the past week": -0.3,
    "writes letters to someone who never answers": 0.3,
    "agrees to hide a wanted man": 0.1,
    "enters a contest to pay an old debt": -0.15,
    "teaches a village to sing again": 0.25,
    "must survive one night among strangers": -0.3,
    "records the stories of those who stayed": 0.35,
}

SETTINGS = {
    "during the last summer before the war": 0.3,
    "in a city that never asks questions": 0.0,
    "in the mountains above {place}": 0.15,
    "on the night train to {place}": 0.1,
    "in the back streets of {place}": 0.1,
    "aboard a ship that lost its course": -0.1,
    "at a holiday resort near {place}": -0.3,
    "in a laboratory deep under {place}": -0.35,
    "among the fishing families of {place}": 0.25,
    "at a boarding school outside {place}": -0.05,
    "in the year the river froze": 0.2,
    "in a suburb where everyone smiles": -0.1,
}

COMPLICATIONS = {
    "An old friend offers help, at a price.": 0.0,
    "Nothing is what it seems.": -0.3,
    "Two generations learn to forgive each other.": 0.3,
    "But an ancient evil has been waiting.": -0.45,
    "Soon the whole town takes sides.": 0.1,
    "Chaos ensues.": -0.45,
    "A single photograph changes everything.": 0.15,
    "The truth turns out to be closer than expected.": -0.05,
    "What begins as a lie becomes a life.": 0.3,
    "Time is running out.": -0.3,
    "The winter is long, and so are the memories.": 0.35,
    "Only a stranger seems to understand.": 0.1,
    "The neighbours have plans of their own.": -0.1,
    "Then the music stops.": 0.1,
}
