"""The table of arms in LaTeX, with the rules of the package booktabs. Imports no torch."""

import re
from collections.abc import Callable

from trainer.errors import printable
from trainer.records.metrics import in_words
from trainer.reports.content import ArmReport, Content
from trainer.reports.tables import Exported
from trainer.stats.comparison import Comparison

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "—": "---",
    "–": "--",
    "…": r"\ldots{}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "·": r"\ensuremath{\cdot}",
    "−": r"\ensuremath{-}",
    "²": r"\ensuremath{^2}",
    "→": r"\ensuremath{\rightarrow}",
    "Δ": r"\ensuremath{\Delta}",
}


def escaped(text: str) -> str:
    """Return the text for LaTeX: nothing in it is a command, and a letter that no default font has becomes "?"."""
    parts = re.split(r"(?<=-)(?=-)", " ".join(text.split()))  # two hyphens would become a dash
    return "{}".join("".join(SPECIAL.get(letter, _plain(letter)) for letter in part) for part in parts)


def _plain(letter: str) -> str:
    """Return a letter, "?" for one that LaTeX refuses with its default fonts: those of Western languages are known."""
    return (
        letter
        if "\x20" <= letter <= "\x7e" or ("\xa1" <= letter <= "\u017f" and letter not in "\xadĸŉſĿŀĦħŦŧ")
        else "?"
    )


def table(source: Exported) -> str:
    """Return a `table` with an arm a row, best first, its difference from the arm that it is compared with, and p.

    The arms of a block, such as a data set, lie below its name.
    """
    content = source.content
    columns = _columns(content, content)
    body = list[str]()
    for block in content.blocks:
        if body:
            body.append(r"\midrule")
        body.append(rf"\multicolumn{{{len(columns)}}}{{@{{}}l}}{{\textit{{{escaped(block.name)}}}}} \\")
        body += _rows(content, block.content)
    body = body or _rows(content, content)
    return "\n".join([
        r"% Needs \usepackage{booktabs}; names with letters such as «ę» or «ð» also need \usepackage[T1]{fontenc}.",
        r"\begin{table}[htbp]",
        r"  \centering\small\setlength{\tabcolsep}{4pt}",
        rf"  \caption{{{_caption(content)}}}",
        rf"  \label{{tab:{re.sub(r'[^A-Za-z0-9-]+', '-', source.name).strip('-') or 'arms'}}}",
        rf"  \begin{{tabular}}{{@{{}}l{'r' * (len(columns) - 1)}@{{}}}}",
        r"    \toprule",
        f"    {' & '.join(title for title, _ in columns)} \\\\",
        r"    \midrule",
        *(f"    {row}" for row in body),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
        *(f"% {printable(line)}" for line in content.sentences),
    ]) + "\n"  # fmt: skip


def _rows(content: Content, block: Content) -> list[str]:
    """Return the rows of a block, or of all arms."""
    columns = _columns(content, block)
    return [" & ".join(form(arm) for _, form in columns) + r" \\" for arm in block.arms]


def _columns(content: Content, block: Content) -> list[tuple[str, Callable[[ArmReport], str]]]:
    """Return the title of each column and the function that writes the cell of an arm of this block, or of all."""
    percent = r" (\%)" if content.share else ""
    best = next((arm for arm in block.arms if arm.values), None)

    def value(arm: ArmReport) -> str:
        if not arm.values:
            return "---"
        text = _amount(arm.mean, arm.deviation, content)
        return rf"$\mathbf{{{text}}}$" if arm is best and len(block.arms) > 1 else f"${text}$"

    columns: list[tuple[str, Callable[[ArmReport], str]]] = [
        ("Arm" if content.kind == "study" else "Run", lambda arm: escaped(arm.name)),
        (f"{escaped(in_words(content.metric))}{percent}", value),
        (f"{escaped(content.unit.capitalize())}s", lambda arm: str(len(arm.values))),
    ]
    pairs = _pairs(block)
    if any(each.half_width is not None for part in _parts(content) for each in _pairs(part).values()):
        columns += [
            (r"$\Delta$ (points)" if content.share else r"$\Delta$", lambda arm: _difference(arm, pairs, content)),
            ("$p$", lambda arm: _p(pairs.get(arm.name))),
        ]
    if any(arm.gap is not None for arm in content.arms):
        columns.append(("Gap", lambda arm: "---" if arm.gap is None else f"${100 * arm.gap:+.2f}$"))
    return [
        *columns,
        ("Epoch", lambda arm: "---" if arm.best_epoch is None else f"{arm.best_epoch:g}"),
        *([("Parameters", lambda arm: _grouped(arm.parameters))] if len(_sizes(content)) > 1 else []),
    ]


def _parts(content: Content) -> list[Content]:
    return [block.content for block in content.blocks] or [content]


def _sizes(content: Content) -> set[int]:
    """Return the numbers of parameters of the arms; where there is one, the caption says it."""
    return {arm.parameters for arm in content.arms if arm.parameters is not None}


def _grouped(count: int | None) -> str:
    return "---" if count is None else f"{count:,}".replace(",", r"\,")


def _amount(value: float, spread: float | None, content: Content, factor: float = 100.0) -> str:
    """Return "98.20 \\pm 0.31", in percent of a share, without the dollar signs."""
    scale, digits = (factor, 2) if content.share else (1.0, 4)
    width = "" if spread is None else rf" \pm {scale * spread:.{digits}f}"
    return f"{scale * value:.{digits}f}{width}"


def _pairs(content: Content) -> dict[str, Comparison]:
    """Return the comparison of each arm with the reference, by the arm that is no reference."""
    if not content.judged:
        return {}
    reference = content.judged.reference
    comparisons = content.judged.with_reference
    return {(each.second if each.first.name == reference else each.first).name: each for each in comparisons}


def _difference(arm: ArmReport, pairs: dict[str, Comparison], content: Content) -> str:
    each = pairs.get(arm.name)
    if each is None or each.half_width is None:
        return "---"
    difference = each.difference if each.first.name == arm.name else -each.difference
    return f"${_amount(difference, each.half_width, content)}$"


def _p(each: Comparison | None) -> str:
    if each is None or each.p is None:
        return "---"
    return "$<0.001$" if each.p < 0.001 else f"${each.p:.2g}$"


def _caption(content: Content) -> str:
    metric = escaped(content.scored)
    several = any(arm.deviation is not None for arm in content.arms)
    spread = r", mean $\pm$ standard deviation over runs" if several else ""
    verdicts = [part.judged for part in _parts(content) if part.judged]
    comparisons = [each for judged in verdicts for each in judged.with_reference]
    tested = any(each.half_width is not None for each in comparisons)
    references = {judged.reference for judged in verdicts if judged.reference}
    several_blocks = f"the best arm of each {content.blocks[0].noun}" if content.blocks else ""
    reference = escaped(references.pop()) if len(references) == 1 else several_blocks
    against = rf" $\Delta$: difference from {reference} with its 95\,\% interval." if tested else ""
    corrected = " Intervals and $p$ are corrected for all comparisons." if tested and len(comparisons) > 1 else ""
    sizes = _sizes(content)
    size = f" Each network has {_grouped(*sizes)} parameters." if len(sizes) == 1 else ""
    epoch = " Epoch: the one with the lowest validation loss, median over runs."
    has_gap = any(arm.gap is not None for arm in content.arms)
    gap = " Gap: training accuracy in evaluation mode minus validation accuracy, in points." if has_gap else ""
    return f"{escaped(content.title)}: {metric}{spread}.{against}{corrected}{gap}{epoch}{size}"
