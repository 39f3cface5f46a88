"""Pairs of files, found by their names alone: photos/0001.jpg with maps/0001.png.

The folders of a name may say its split (`train`, `val`, `test`) and its side (`A` or `photos`, `B` or `maps`), each in
a folder of its own or both in one: `A/train`, `train/A`, `trainA`, `train_labels`, `trainannot`. What is left of the
folders, and the name without its ending, must agree.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from minigan.errors import DataError

__all__ = [
    "MOSTLY",
    "Matches",
    "Sides",
    "describe_some",
    "find_sides",
    "match_names",
    "only_one_kind",
    "splits_of",
]

SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
A_TEXT = """a image images img imgs photo photos photograph photographs picture pictures input inputs source sources src
rgb leftimg8bit jpegimages x raw sat satellite blur blurry blurred noisy hazy rainy lr lq low lowres degraded"""
B_TEXT = """b map maps label labels mask masks annotation annotations annot annots ann anns gt gtfine gtcoarse
groundtruth ground_truth target targets output outputs seg segs segmentation segmentations segmentationclass
segmentationclassaug y matte mattes sharp clean clear hr hq high highres"""
A_WORDS, B_WORDS = frozenset(A_TEXT.split()), frozenset(B_TEXT.split())
# Cityscapes and its kin keep several files for each picture; the first of these that occurs is used.
KINDS = ("_labeltrainids", "_labelids", "_color", "_instancetrainids", "_instanceids")
MOSTLY = 0.9  # share of the names on both sides that match, where nothing but the names says that these are pairs
ENDINGS = 4  # endings of different length that are tried
SEPARATORS = "_-. "
NUMBERS = "zeros before numbers"  # a way to compare, and what it leaves out


class _Place(NamedTuple):
    """Split and side of a name, as its folders say.

    Attributes:
        split: train, val or test; None if no folder says so.
        side: A or B; None if no folder says so.
        word: the folder that says the side, without its split.
        joint: one folder says both, as trainA does.
        rest: the other folders.
    """

    split: str | None
    side: str | None
    word: str
    joint: bool
    rest: tuple[str, ...]


class Sides(NamedTuple):
    """The names of a folder that belong to either side.

    Attributes:
        a, b: rows of names.
        a_word, b_word: the folders or the ends of names that say the side; "" if it is only what the other is not.
        unsure: nothing but equal names says which of the two comes first.
        unpaired: the folders are named as in unpaired datasets: trainA and trainB.
    """

    a: list[int]
    b: list[int]
    a_word: str
    b_word: str
    unsure: bool = False
    unpaired: bool = False


class Matches(NamedTuple):
    """Names that belong together.

    Attributes:
        rows: a row of A's names with one of B's, in A's order.
        a_left, b_left: rows without a partner.
        trimmed: what was left out of the comparison, such as ends or beginnings, of A's names and of B's.
    """

    rows: list[tuple[int, int]]
    a_left: list[int]
    b_left: list[int]
    trimmed: tuple[str, str] = ("", "")


def _place_of(name: str) -> _Place:
    """Split and side of a name with forward slashes."""
    split = side = None
    word, joint, rest = "", False, []
    for folder in name.split("/")[:-1]:
        found_split, found_side, found_word = _read(folder)
        if (found_split and split) or (found_side and side) or not (found_split or found_side):
            rest.append(folder)
            continue
        if found_side:
            word, joint = found_word, bool(found_split)
        split, side = split or found_split, side or found_side
    return _Place(split, side, word, joint, tuple(rest))


def splits_of(name: str) -> frozenset[str]:
    """All splits to which a name belongs: its folders as they are, and train, val or test if one says so."""
    folders = name.split("/")[:-1]
    return frozenset(folders) | {split for folder in folders if (split := _read(folder)[0])}


def _read(folder: str) -> tuple[str | None, str | None, str]:
    """Split, side and side's word of a folder; None and "" for what it does not say."""
    text = folder.lower()
    if text in SPLITS:
        return SPLITS[text], None, ""
    if (side := _side(text)) is not None:
        return None, side, folder
    for split in sorted(SPLITS, key=len, reverse=True):
        for word in (text.removeprefix(split), text.removesuffix(split)):
            word = word.strip(SEPARATORS)
            if word != text and (side := _side(word)) is not None:
                start = text.rindex(word) if text.startswith(split) else text.index(word)
                return SPLITS[split], side, folder[start : start + len(word)]
    return None, None, ""


def _side(word: str) -> str | None:
    return "A" if word in A_WORDS else "B" if word in B_WORDS else None


def find_sides(names: Sequence[str], *, root: str) -> Sides | None:
    """Finds two sides in the names of one folder; None if each file seems to hold a pair of its own.

    Args:
        names: with forward slashes.
        root: the folder, for errors.
    Raises:
        DataError: one side has several folders, of which any could be meant.
    """
    shared = _shared_folders(names)
    inner = ["/".join(name.split("/")[shared:]) for name in names]
    places = [_place_of(name) for name in inner]
    by_side: dict[str | None, list[int]] = {"A": [], "B": [], None: []}
    for row, place in enumerate(places):
        by_side[place.side].append(row)
    a, b, unknown = by_side["A"], by_side["B"], by_side[None]
    if b and (a or unknown):
        a = a or unknown
        words = (
            _one_word(places, a, f"{root}: expected one folder of sources"),
            _one_word(places, b, f"{root}: expected one folder of targets"),
        )
        joint = all(places[row].joint and places[row].word.lower() in ("a", "b") for row in (*a, *b))
        return Sides(a, b, *words, unpaired=joint)
    return _twin_folders(inner, places) or _twin_stems(inner)


def _shared_folders(names: Sequence[str]) -> int:
    """The number of folders that all names begin with: these tell nothing apart."""
    first, last = (name.split("/")[:-1] for name in (min(names), max(names)))
    return next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _one_word(places: Sequence[_Place], rows: Iterable[int], expected: str) -> str:
    words = sorted({places[row].word for row in rows})
    if len(words) > 1:
        raise DataError(
            f"{expected}, found {' and '.join(words[:3])}. Name the two folders to use: `data=PHOTOS, targets=MAPS`."
        )
    return words[0]


def _twin_folders(names: Sequence[str], places: Sequence[_Place]) -> Sides | None:
    """Two folders of any names beside each other, which hold files of the same names."""
    tops = sorted({place.rest[0] if place.rest else place.word for place in places})
    if len(tops) != 2 or "" in tops:
        return None
    a, b = ([row for row, place in enumerate(places) if (place.rest or (place.word,))[0] == top] for top in tops)
    found = match_names([_without(names[row], tops[0]) for row in a], [_without(names[row], tops[1]) for row in b])
    if found is None or len(found.rows) < MOSTLY * max(len(a), len(b)) or found.trimmed != ("", ""):
        return None
    if _side(tops[1].lower()) == "A":
        return Sides(b, a, tops[1], tops[0])
    return Sides(a, b, tops[0], tops[1], unsure=_side(tops[0].lower()) is None)


def _without(name: str, folder: str) -> str:
    return "/".join(part for part in name.split("/") if part != folder)


def _twin_stems(names: Sequence[str]) -> Sides | None:
    """Files beside each other whose names differ in their ends.

    These are words for a side (x_sat.jpg or x.jpg, and x_mask.png), an end that one side alone has (x.jpg and x_L.png),
    or only the kind of file, of which one is JPEG (x.jpg and x.png).
    """
    words = [re.split(r"[_\-. ]", _stem(name).lower())[-1] for name in names]
    tagged = [len(re.split(r"[_\-. ]", _stem(name))) > 1 for name in names]
    b = [row for row, word in enumerate(words) if tagged[row] and _side(word) == "B"]
    if b:
        return _two_kinds(names, b) if len({words[row] for row in b}) == 1 else None
    common = Counter(word for row, word in enumerate(words) if tagged[row] and not word.isdigit()).most_common(1)
    b = [row for row, word in enumerate(words) if tagged[row] and (word, len(names) // 2) in common]
    found = _two_kinds(names, b)
    if found is not None and not found.a_word:
        return found
    jpegs = [name.lower().endswith((".jpg", ".jpeg")) for name in names]
    found = _two_kinds(names, [row for row, jpeg in enumerate(jpegs) if not jpeg])
    return found if found is not None and (found.a_word, found.b_word) == ("", "") else None


def _two_kinds(names: Sequence[str], b: list[int]) -> Sides | None:
    """The sides, where these rows are B and all others A; None if most of their names do not match."""
    a = sorted(set(range(len(names))) - set(b))
    if not a or not b:
        return None
    found = match_names([names[row] for row in a], [names[row] for row in b])
    if found is None or len(found.rows) < MOSTLY * max(len(a), len(b)):
        return None
    return Sides(a, b, *found.trimmed)


def match_names(a: Sequence[str], b: Sequence[str], *, beginnings: bool = False) -> Matches | None:
    """Finds the pairs among two lists of names; None if no name has a partner.

    Names are compared without what their folders say of split and side, and without their ending. If fewer than half
    of the shorter list agree so, then also without upper case, without an end that all names of a side have from one
    of `_-. ` on (`_leftImg8bit`, `_L`), without their folders, and last without zeros before their numbers.

    Args:
        a, b: names with forward slashes.
        beginnings: also without a beginning that all names of a side have (`img_`, `mask_`), if nearly all names then
            agree: names like `n02381460_10.jpg` have a class before their number, and such numbers agree by chance.
    Raises:
        DataError: two names of a side agree.
    """
    best: Matches | None = None
    enough = min(len(a), len(b)) / 2
    for fold, a_cut, b_cut in _ways(a, b, beginnings=beginnings):
        found = _match(a, b, fold=fold, cuts=(a_cut, b_cut))
        least = MOSTLY * min(len(a), len(b)) if a_cut.beginning or b_cut.beginning else 1
        if found is not None and len(found.rows) >= least and len(found.rows) > (len(best.rows) if best else 0):
            best = found
        if best is not None and len(best.rows) >= enough:
            break
    if best is not None and best.trimmed == ("", ""):
        _refuse_twins(a, best.rows, side=0)
        _refuse_twins(b, best.rows, side=1)
    return best


class _Cut(NamedTuple):
    """Letters that are left out of a stem: at its end and at its beginning."""

    end: str = ""
    beginning: str = ""

    def of(self, stem: str) -> str:
        return stem.removesuffix(self.end).removeprefix(self.beginning)


def _ways(a: Sequence[str], b: Sequence[str], *, beginnings: bool) -> Iterable[tuple[str, _Cut, _Cut]]:
    """Ways to compare, the strictest first: what of the folders and case counts, and the cuts of both sides."""
    none = _Cut()
    for fold in ("exact", "case"):
        yield fold, none, none
    ends = [[_Cut(end) for end in _ends([_stem(name) for name in side])] for side in (a, b)]
    cuts = [(x, y) for x in ends[0] for y in ends[1]]
    if beginnings:
        starts = [_ends([_stem(name)[::-1] for name in side]) for side in (a, b)]
        cuts += [(_Cut(beginning=x[::-1]), _Cut(beginning=y[::-1])) for x in starts[0] for y in starts[1]]
    for x, y in cuts:
        yield "case", x, y
    for x, y in cuts:
        yield "stem", x, y
    for x, y in cuts:
        yield NUMBERS, x, y


def _ends(stems: Sequence[str]) -> list[str]:
    """Ends that all stems have, each from a separator on: the empty one, then from the shortest to the longest."""
    shared = stems[0]
    for stem in stems:
        while not stem.endswith(shared):
            shared = shared[1:]
    starts = [k for k, letter in enumerate(shared) if letter in SEPARATORS and not (k == 0 and shared == stems[0])]
    return ["", *(shared[k:] for k in reversed(starts))][: ENDINGS + 1]


def _match(a: Sequence[str], b: Sequence[str], *, fold: str, cuts: tuple[_Cut, _Cut]) -> Matches | None:
    """Pairs of names by one way to compare; None if two names of a side agree by it, other than by the strictest."""
    places = [[_place_of(name) for name in side] for side in (a, b)]
    by_split = all(any(place.split for place in side) for side in places)
    tables: list[dict[tuple[str, ...], int]] = []
    for side, found, cut in zip((a, b), places, cuts, strict=True):
        table: dict[tuple[str, ...], int] = {}
        for row, (name, place) in enumerate(zip(side, found, strict=True)):
            key = (place.split or "" if by_split else "", *place.rest, cut.of(_stem(name)))
            if fold != "exact":
                key = tuple(part.lower() for part in key)
            if fold in ("stem", NUMBERS):
                key = (key[0], key[-1])
            if fold == NUMBERS:
                key = (key[0], re.sub(r"(?<!\d)0+(?=\d)", "", key[1]))
            if table.setdefault(key, row) != row and fold != "exact":
                return None
        tables.append(table)
    rows = sorted((tables[0][key], tables[1][key]) for key in tables[0].keys() & tables[1].keys())
    if not rows:
        return None
    used = [{pair[side] for pair in rows} for side in (0, 1)]
    left = [[row for row in range(len(side)) if row not in used[k]] for k, side in enumerate((a, b))]
    ends, zeros = [cut.end or cut.beginning for cut in cuts], [NUMBERS] if fold == NUMBERS else []
    return Matches(rows, left[0], left[1], (" and ".join([*zeros, *filter(None, ends[:1])]), ends[1]))


def _refuse_twins(names: Sequence[str], rows: Sequence[tuple[int, int]], *, side: int) -> None:
    """Refuses two files of one name and different endings, of which any could be meant."""
    used = {names[pair[side]] for pair in rows}
    stems = {name.rpartition(".")[0]: name for name in used}
    for name in names:
        twin = stems.get(name.rpartition(".")[0])
        if twin is not None and twin != name:
            raise DataError(f"{twin} and {name} could both belong to the same pair. Remove one of them.")


def only_one_kind(names: Sequence[str]) -> tuple[list[int], str]:
    """Rows of the names of one kind, where Cityscapes and its kin keep several for each picture, and that kind."""
    kinds = [next((kind for kind in KINDS if _stem(name).lower().endswith(kind)), "") for name in names]
    if len(set(kinds)) < 2:
        return list(range(len(names))), ""
    best = next(kind for kind in KINDS if kind in kinds)
    rows = [row for row, kind in enumerate(kinds) if kind == best]
    stem = _stem(names[rows[0]])
    return rows, stem[len(stem) - len(best) :]


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]


def describe_some(names: Sequence[str], *, most: int = 3) -> str:
    """A few of some names."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
