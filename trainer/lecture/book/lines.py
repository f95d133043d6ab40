"""The lines of a figure of a study: which runs each is of, its short name and its look. Imports no torch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.lecture.measuring.runs import RunRecord
from trainer.lecture.titles import brief

Arms = Mapping[str, Mapping[str, Mapping[str, RunRecord]]]  # arm → value of the further setting → seed → run


@dataclass(frozen=True)
class Line:
    """The runs of one arm, at one value of the further setting. `color` and `dash`: places in the lists of looks."""

    name: str
    color: int
    dash: int
    runs: Mapping[str, RunRecord]


def lines_of(arms: Arms, setting: str) -> tuple[list[Line], str]:
    """Return a line for each arm and value of `setting`, and the setting that tells them apart, "" for several.

    Runs that several arms chose have one line. Settings that all lines have are not named. Two settings are told apart
    by colour and by dash.
    """
    found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}  # runs → the words of each arm that chose them
    runs_of: dict[tuple[str, ...], Mapping[str, RunRecord]] = {}
    for arm, values in arms.items():
        for value, runs in values.items():
            words = (*words_of(arm), *(words_of(value if " " in setting else f"{setting}={value}") if value else ()))
            same = tuple(sorted(str(run.folder) for run in runs.values()))
            found.setdefault(same, []).append(words)
            runs_of.setdefault(same, runs)
    usual = Counter(tuple(sorted(_keys(words))) for each in found.values() for words in each)
    # The words that name the same settings as most other lines: so that they can be told apart by these.
    named = shortened(
        _sorted([max(each, key=lambda words: usual[tuple(sorted(_keys(words)))]) for each in found.values()])
    )
    places = list(zip(named, runs_of.values(), strict=True))
    keys = {_keys(words) for words in named}
    if len(keys) != 1:
        return [Line(", ".join(words), at, at, runs) for at, (words, runs) in enumerate(places)], ""
    (key,) = keys
    first, second = (list(dict.fromkeys(words[part] for words in named)) for part in (0, -1))
    if len(key) == 1:
        places.sort(key=lambda each: _number(each[0]))
        title = "" if key[0] == "arm" else key[0]
        return [Line(_value(words[0]), at, at, runs) for at, (words, runs) in enumerate(places)], title
    if len(key) > 2 or len(first) * len(second) > len(named):  # no table of both
        return [Line(", ".join(words), at, at, runs) for at, (words, runs) in enumerate(places)], ""
    second.sort(key=lambda word: _number([word]))
    places.sort(key=lambda each: (first.index(each[0][0]), second.index(each[0][-1])))
    return [Line(", ".join(each), first.index(each[0]), second.index(each[-1]), runs) for each, runs in places], ""


def names_of(arms: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return {arm: its short name}, and the setting that tells the arms apart, "" for several."""
    named = shortened(_sorted([words_of(arm) for arm in arms]))
    keys = {_keys(words) for words in named}
    single = len(keys) == 1 and len(next(iter(keys))) == 1
    short = {arm: _value(words[0]) if single else " ".join(words) for arm, words in zip(arms, named, strict=True)}
    (key,) = keys if single else [("",)]
    return short, "" if key[0] == "arm" else key[0]


def shortened(lines: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the words of each line without those that all have; a single line keeps its own."""
    if len(lines) < 2:
        return [tuple(words) for words in lines]
    times = Counter(word for words in lines for word in set(words))
    left = [tuple(word for word in words if times[word] < len(lines)) for words in lines]
    return left if all(left) else [tuple(words) for words in lines]


def words_of(arm: str) -> tuple[str, ...]:
    """Return the settings of an arm; the name of an arm, which may have spaces, is one."""
    return (arm,) if arm.startswith("arm=") else tuple(map(brief, arm.split())) or (arm,)


def _sorted(lines: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the words of each line in the order in which their settings are named first."""
    order = list(dict.fromkeys(key for words in lines for key in _keys(words)))
    return [tuple(sorted(words, key=lambda word: order.index(word.partition("=")[0]))) for words in lines]


def _keys(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.partition("=")[0] for word in words)


def _value(word: str) -> str:
    return word.partition("=")[2] or word


def _number(words: Sequence[str]) -> float:
    try:
        return float(_value(words[0]))
    except ValueError:
        return 0.0
