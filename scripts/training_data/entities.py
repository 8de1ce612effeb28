"""What FewRel's sentences say about the two entities that they are labelled with."""

from collections.abc import Iterator

from scripts.training_data.sets import DIRECTION, fewrel_text, task
from scripts.training_data.source import Row, Source

PAIRS = (
    "How is {head} related to {tail}?",
    "relation between {head} and {tail}",
    "What connects {head} with {tail}?",
    "What is {tail} to {head}?",
    "Which relation holds between {head} and {tail}?",
    "In the sentence, what have {head} and {tail} to do with each other?",
)
# Relation -> aspect that its tail answers, aspect that its head answers, kind of its head, topic.
THINGS: dict[str, tuple[str, str, str, str]] = {
    "author": ("", "", "work", "literature"),
    "award received": ("", "", "person", ""),
    "cast member": ("", "film", "work", "film"),
    "cause of death": ("", "", "person", ""),
    "causative_agent_of": ("", "", "disease", "medicine"),
    "child": ("child", "parent", "person", "family"),
    "classified_as": ("", "", "", "medicine"),
    "competition class": ("weight_class", "", "", "sport"),
    "constellation": ("constellation", "", "star", "astronomy"),
    "crosses": ("river_crossed", "bridge", "object", "geography"),
    "director of photography": ("", "film", "work", "film"),
    "employer": ("", "", "person", ""),
    "ethnic group": ("", "", "person", ""),
    "gene_found_in_organism": ("", "", "", "medicine"),
    "gene_plays_role_in_process": ("", "", "", "medicine"),
    "industry": ("", "", "company", "business"),
    "ingredient_of": ("", "", "", "medicine"),
    "inheritance_type_of": ("", "", "disease", "medicine"),
    "is_primary_anatomic_site_of_disease": ("", "", "disease", "medicine"),
    "located in or next to body of water": ("water", "", "place", "geography"),
    "main subject": ("subject", "", "", ""),
    "member of": ("member", "", "", ""),
    "member of sports team": ("", "player", "person", "sport"),
    "military rank": ("rank", "", "person", "military"),
    "mother": ("mother", "mothers_child", "person", "family"),
    "original language of film or TV show": ("language", "film", "work", "film"),
    "parent organization": ("", "", "company", "business"),
    "parent taxon": ("", "", "species", "nature"),
    "position played on team / speciality": ("position", "player", "person", "sport"),
    "product or material produced": ("", "", "company", "business"),
    "production company": ("", "film", "work", "film"),
    "sport": ("sport", "", "team", "sport"),
    "spouse": ("spouse", "", "person", "family"),
    "stock exchange": ("", "", "company", "business"),
    "voice type": ("voice", "", "person", "music"),
}


def fewrel_pairs(source: Source) -> Iterator[Row]:
    """Sentences, and how two entities that the instruction names are related."""
    generator = source.random("fewrel_pairs")
    for row in source.sample("fewrel_val", 8000, purpose="pairs"):
        relation = DIRECTION.sub("", row["labels"]["relation"])
        wording = PAIRS[generator.randrange(len(PAIRS))]
        yield {
            "text": fewrel_text(row),
            "instruction": wording.format(head=row["head"], tail=row["tail"]),
            "answer": source.verbal("fewrel", "relation", relation),
        }


def fewrel_things(source: Source) -> Iterator[Row]:
    """Sentences: what kind of thing they are about, and the entity that answers a question."""
    for row in source.rows("fewrel_val"):
        if row["labels"]["relation"] in THINGS:
            tail, head, kind, topic = THINGS[row["labels"]["relation"]]
            found = {tail: row["tail"].lower(), head: row["head"].lower()}
            found |= {"head_kind": kind, "topic": topic}
            kept = {aspect: v for aspect, v in found.items() if aspect and v and "|" not in v}
            yield {"text": fewrel_text(row), "labels": kept}


# Task of natural-instructions -> kind of the entity that is its answer.
MENTIONED = {
    "task1447": "drug",
    "task1448": "disease",
    "task1452": "place",
    "task1453": "person",
    "task1479": "company",
    "task1480": "gene",
    "task1481": "gene",
    "task1482": "gene",
    "task1483": "chemical",
    "task1485": "organ",
}
KINDS = (
    "What kind of thing is {name}?",
    "type of {name}",
    "To which class does {name} belong?",
    "Is {name} a person, a place, a company, a work, a drug, a gene or something else?",
    "In this text, what is {name}?",
    "entity type: {name}",
)


def entity_kinds(source: Source) -> Iterator[Row]:
    """Sentences, and the kind of an entity that the instruction names."""
    generator = source.random("entity_kinds")
    for row in source.rows("natinst"):
        if kind := MENTIONED.get(task(row)):
            yield _kind(source, row["text"], row["answer"], kind, generator.choice(KINDS))
    for row in source.sample("fewrel_val", 6000, purpose="kinds"):
        kind = THINGS.get(row["labels"]["relation"], ("", "", "", ""))[2]
        if kind and kind != "team":
            text = fewrel_text(row)
            yield _kind(source, text, row["head"], kind, generator.choice(KINDS))


def _kind(source: Source, text: str, name: str, kind: str, wording: str) -> Row:
    answer = source.verbal("fewrel_things", "head_kind", kind)
    return {"text": text, "instruction": wording.format(name=name), "answer": answer}
