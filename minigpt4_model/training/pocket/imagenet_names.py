"""What people call the thousand ImageNet classes: "dog", not "Staffordshire bullterrier". Knows names only, no weights."""

import bisect
from functools import lru_cache

# First class of each run of classes that people call by one word (ImageNet-1k order); None: every class by its own name.
_COMMON_NAMES = (
    (0, "fish"), (2, "shark"), (5, "ray"), (7, "rooster"), (8, "hen"), (9, "ostrich"), (10, "bird"), (22, "eagle"), (23, "vulture"),
    (24, "owl"), (25, "salamander"), (30, "frog"), (33, "turtle"), (38, "lizard"), (49, "crocodile"), (51, "dinosaur"), (52, "snake"),
    (69, "fossil"), (70, "spider"), (71, "scorpion"), (72, "spider"), (78, "tick"), (79, "centipede"), (80, "bird"), (84, "peacock"),
    (85, "bird"), (87, "parrot"), (91, "bird"), (94, "hummingbird"), (95, "bird"), (96, "toucan"), (97, "duck"), (99, "goose"),
    (100, "swan"), (101, "elephant"), (102, "echidna"), (103, "platypus"), (104, "kangaroo"), (105, "koala"), (106, "wombat"),
    (107, "jellyfish"), (108, None), (110, "worm"), (112, "shell"), (113, "snail"), (114, "slug"), (116, None), (118, "crab"),
    (122, "lobster"), (125, "crab"), (126, "bug"), (127, "stork"), (129, "bird"), (130, "flamingo"), (131, "heron"), (133, "bird"),
    (144, "pelican"), (145, "penguin"), (146, "bird"), (147, "whale"), (149, "seal"), (151, "dog"), (269, "wolf"), (273, "dog"),
    (276, "hyena"), (277, "fox"), (281, "cat"), (286, "cougar"), (287, "lynx"), (288, "leopard"), (290, "jaguar"), (291, "lion"),
    (292, "tiger"), (293, "cheetah"), (294, "bear"), (298, "mongoose"), (299, "meerkat"), (300, "beetle"), (301, "ladybug"),
    (302, "beetle"), (308, "fly"), (309, "bee"), (310, "ant"), (311, "grasshopper"), (312, "cricket"), (313, "insect"),
    (319, "dragonfly"), (321, "butterfly"), (327, "starfish"), (328, "sea urchin"), (329, "sea cucumber"), (330, "rabbit"),
    (333, "hamster"), (334, "porcupine"), (335, "squirrel"), (336, "marmot"), (337, "beaver"), (338, "guinea pig"), (339, "horse"),
    (340, "zebra"), (341, "pig"), (344, "hippopotamus"), (345, "ox"), (346, "buffalo"), (347, "bison"), (348, "sheep"), (350, "goat"),
    (351, "antelope"), (354, "camel"), (355, "llama"), (356, "weasel"), (360, "otter"), (361, "skunk"), (362, "badger"),
    (363, "armadillo"), (364, "sloth"), (365, "orangutan"), (366, "gorilla"), (367, "chimpanzee"), (368, "monkey"), (383, "lemur"),
    (385, "elephant"), (387, "red panda"), (388, "panda"), (389, "fish"), (398, None),
)  # fmt: skip
# Objects whose first ImageNet name is not what people say.
_RENAMED = {
    403: "aircraft carrier", 404: "airplane", 407: "ambulance", 408: "amphibious vehicle", 412: "trash can", 417: "balloon", 436: "car",
    444: "bicycle", 457: "bow tie", 468: "taxi", 479: "wheel", 487: "phone", 504: "mug", 508: "keyboard", 510: "ship", 511: "car",
    528: "phone", 546: "guitar", 556: "fire screen", 565: "train", 573: "go-kart", 579: "piano", 608: "jeans", 609: "jeep",
    620: "laptop", 627: "limousine", 628: "ship", 654: "bus", 656: "van", 661: "car", 665: "scooter", 670: "scooter", 671: "bicycle",
    673: "mouse", 681: "laptop", 705: "train", 707: "phone", 717: "truck", 726: "wood plane", 751: "car", 760: "refrigerator",
    769: "ruler", 779: "bus", 800: "slot machine", 805: "ball", 814: "boat", 817: "car", 829: "tram", 831: "couch", 836: "sunglasses",
    850: "teddy bear", 851: "television", 864: "truck", 867: "truck", 874: "bus", 880: "unicycle", 881: "piano", 895: "airplane",
    914: "boat", 934: "hot dog", 948: "apple", 950: "orange", 967: "espresso", 968: "cup", 982: "bridegroom", 985: "daisy", 987: "corn",
    989: "rose hip", 991: "mushroom", 992: "mushroom", 993: "mushroom", 994: "mushroom", 995: "mushroom", 996: "mushroom",
    997: "mushroom", 998: "corn", 999: "toilet paper",
}  # fmt: skip


@lru_cache
def class_names() -> tuple[str, ...]:
    """What to call each of the thousand ImageNet classes, by index: the word that people use, not the species."""
    from ...model.torchvision_shim import define_missing_torchvision_ops

    define_missing_torchvision_ops()  # or timm can't be imported
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    starts = [start for start, _ in _COMMON_NAMES]
    names = []
    for index in range(1000):
        common = _COMMON_NAMES[bisect.bisect_right(starts, index) - 1][1]
        names.append(_RENAMED.get(index) or common or info.index_to_description(index).split(",")[0].lower())
    return tuple(names)
