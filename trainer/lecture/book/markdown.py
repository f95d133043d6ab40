"""The book as Markdown: its tables, sentences and formulas, without the pictures. Imports no torch."""

from collections.abc import Iterable, Iterator, Sequence

from trainer.lecture.book import outline
from trainer.lecture.content import NOT_RUN, Book, ClaimResult
from trainer.lecture.titles import brief
from trainer.reports.markdown import plain

PAGE = "book.html"  # the page beside it, which has the pictures


def render(book: Book) -> str:
    """Return the Markdown text. Every text of a claim is escaped."""
    parts = [f"# {plain(book.title)}", plain(outline.summary(outline.counts(book))) + "."]
    parts += [plain(outline.alarms(book))] if book.tested else []
    facts = [f"{plain(name)}: {plain(text)}" for name, text in outline.facts(book)]
    parts += [_list(facts)] if facts else []
    parts.append("## All claims")
    rows = [
        (f"{outline.SIGNS[claim.verdict]} {claim.verdict}", f"[{plain(claim.title)}](#{outline.anchor(claim.name)})",
         plain(claim.places))
        for claim in book.claims
    ]  # fmt: skip
    parts.append(_table(("verdict", "claim", "note:line"), rows))
    for chapter in outline.chapters(book):
        parts += [f"## {plain(chapter.heading)}", plain(outline.summary(chapter.counts)) + "."]
        for claim in chapter.claims:
            parts += _claim(claim)
    return "\n\n".join(parts) + "\n"


def _claim(claim: ClaimResult) -> Iterator[str]:
    """Yield the paragraphs of a claim."""
    name = outline.anchor(claim.name)
    yield f'<a id="{name}"></a>\n\n### {outline.SIGNS[claim.verdict]} {plain(claim.title)}'
    yield f"**{claim.verdict}** · {plain(outline.places(claim))} · [with pictures]({PAGE}#{name})"
    yield plain(claim.claim)
    if claim.here:
        yield f"Here: {plain(claim.here)}."
    for each in claim.statements:
        says = f"*{plain(each.says)}* " if each.says != each.sentence else ""
        sentence = plain(outline.ended(brief(each.sentence)))
        yield f"* {outline.SIGNS[each.verdict]} {says}**{each.verdict}:** {sentence}"
    if claim.why:
        yield f"Why: {plain(claim.why)}"
    if claim.reason:
        yield f"The reason: {plain(claim.reason)}"
    formula = None if claim.verdict == NOT_RUN else outline.formula_of(claim)
    if formula:
        yield f"{plain(formula.title)}:\n\n{_code(formula.text)}"
        if formula.remark:
            yield plain(formula.remark)
        yield f"NumPy:\n\n{_code(formula.numpy, 'python')}"
        yield f"PyTorch:\n\n{_code(formula.torch, 'python')}"
        yield plain(formula.check)
    if claim.arms:
        columns = outline.columns_of(claim)
        rows = [
            (plain(arm), *(plain(texts.get(column, "—")) for column in columns)) for arm, texts in claim.arms.items()
        ]
        yield _table(("arm", *map(plain, columns)), rows)
    if claim.notes:
        yield _list(map(_said, claim.notes))
    if claim.command:
        yield f"{'To run it' if claim.verdict == NOT_RUN else 'To repeat it'}:\n\n{_code(claim.command, 'bash')}"
    if claim.next:
        yield f"Next: {_said(claim.next)}"


def _said(text: str) -> str:
    """Return a sentence, with the command at its end as code."""
    words, command = outline.parted(outline.ended(text))
    return " ".join([plain(words), *([f"`{command}`"] if command and "`" not in command else [plain(command)])]).strip()


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def _code(text: str, language: str = "") -> str:
    """Return a block of code, behind a fence that the text does not hold."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.strip()}\n{fence}"


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, *body)]
    return "\n".join([lines[0], f"|{' --- |' * len(head)}", *lines[1:]])
