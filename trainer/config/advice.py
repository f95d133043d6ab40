"""The value that was probably meant where one cannot be read or is not accepted. Each is tried before it is printed."""

import re
import shlex
import unicodedata
from collections.abc import Iterator

from trainer.config.aliases import ALIASES
from trainer.config.schema import GROUPS
from trainer.config.settings import SECTIONS, accepts, named_values, options_of, takes_list, takes_text
from trainer.config.shell import quoted
from trainer.config.suggestions import nearest, plain

# Dashes and quotation marks as slides, web pages and word processors write them.
TYPOGRAPHY = {ord(dash): "-" for dash in "‐‑‒–—―−﹣－"} | {ord(mark): None for mark in "“”„«»‘’‚\u200b\ufeff"}
SYNONYMS = {
    **dict.fromkeys(("yes", "on", "1"), ("true",)),
    **dict.fromkeys(("no", "off", "false"), ("false", "null", "disabled", "none")),
    **dict.fromkeys(("[]", "{}", "null"), ("none",)),
    "0": ("false",),
    **dict.fromkeys(("none", "never", "nil", "inf", ""), ("null", "disabled")),
    "dryrun": ("offline", "true"),
    "gpu": ("cuda",),
    **dict.fromkeys(("16", "float16", "half"), ("fp16",)),
    **dict.fromkeys(("32", "float32", "full"), ("fp32",)),
    "bfloat16": ("bf16",),
}


def meant(key: str, text: str, technique: str = "") -> str:
    """Return ". Did you mean lr=0.1?" for a value that the setting does not take, or an empty text.

    `technique`: the one whose option the setting is, where it is known.
    """
    found = [f"{key}={value}" for value in [repaired(key, text, technique)] if value is not None]
    if key in SECTIONS:  # wandb=disabled
        inner = [f"{key}.{name}" for name in SECTIONS[key].model_fields if _names(f"{key}.{name}", "")]
        found = [f"{name}={value}" for name in inner for value in [repaired(name, text)] if value not in (None, "null")]
    return f". Did you mean {shlex.quote(found[0])}?" if found else ""


def repaired(key: str, text: str, technique: str = "") -> str | None:
    """Return the value that was probably meant by a text that the setting does not take, or None."""
    return next((value for value in _candidates(key, text, technique) if accepts(key, value, technique)), None)


def untypographic(text: str) -> str:
    """Return the text with plain dashes and without the quotation marks of typography."""
    return unicodedata.normalize("NFKC", text.translate(TYPOGRAPHY))


def _candidates(key: str, text: str, technique: str) -> Iterator[str]:
    """Yield what may have been meant by a text, the likeliest first; not all of them are values of the setting."""
    if takes_text(key):
        yield quoted(text)
        yield re.sub(r"[^\w.-]+", "_", text)  # where it must be a name
        return
    typed = untypographic(text).strip(" '\",;")
    yield typed
    yield from _numbers(typed)
    if takes_list(key, technique):
        yield from _lists(key, typed)
    yield from _words(key, typed, technique)


def _numbers(text: str) -> Iterator[str]:
    """Yield numbers as Hydra reads them for 10^-3, 3·10^-4, 0,1, 50 %, 1/8, cuda:1 for 1, 2 for 2.0, 1000 for 1e3."""
    power = re.sub(r"(?:(\d+(?:[.,]\d+)?)\s*[x×·*]\s*)?\b10\s*(?:\^|\*\*)\s*[({]?([+-]?\d+)[)}]?", _power, text)
    yield power
    yield power.replace(",", ".")
    yield re.sub(r"(?<=\d)[,_' ](?=\d{3}\b)", "", power)
    if found := re.fullmatch(r"(\d+(?:[.,]\d+)?)\s*%", text):
        yield f"{float(found[1].replace(',', '.')) / 100:g}"
    if found := re.fullmatch(r"(\d+)\s*/\s*(\d*[1-9]\d*)", text):
        yield f"{int(found[1]) / int(found[2]):g}"
    if re.fullmatch(r"\d+(\.0*)?(e\+?\d)?", text, re.IGNORECASE):
        yield f"{float(text):.0f}"
    yield re.sub(r"^(?:cuda)?(\d+)$", r"cuda:\1", text.lower())


def _power(found: re.Match[str]) -> str:
    return f"{(found[1] or '1').replace(',', '.')}e{int(found[2])}"


def _lists(key: str, text: str) -> Iterator[str]:
    """Yield lists as Hydra reads them for (0.9,0.99), {flip, crop}, flip crop, 0.9;0.99, baseline."""
    items = [item for item in re.split(r"[;,\s]+", text.strip("()[]{}, ")) if item]
    yield f"[{','.join(items)}]"
    yield f"[{','.join(map(quoted, items))}]"
    named = [next(_words(key, item, ""), item) for item in items]
    yield f"[{','.join(named)}]"


def _words(key: str, text: str, technique: str) -> Iterator[str]:
    """Yield the names that the setting takes and the text may stand for: by case and dashes, by synonym, nearly so."""
    names = _names(key, technique)
    yield from [name for name in names if plain(name) == plain(text)]
    alias = ALIASES.get(f"{key}={plain(text)}" if key in GROUPS else plain(text), "")
    if alias.startswith(f"{key}="):
        yield alias.removeprefix(f"{key}=")
    yield text.lower()
    yield from SYNONYMS.get(text.lower(), ())
    yield from nearest(text, names, key)


def _names(key: str, technique: str) -> list[str]:
    """Return the names of a group's options, or the values of a setting that takes one of several."""
    return options_of(key) if key in GROUPS else [name for name in named_values(key, technique) if name != "null"]
