"""The documents are true: their commands compose, their links lead somewhere, their tables are those of today."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, compose, quick

from trainer import __version__
from trainer.cli.main import COMMANDS, command_main, main
from trainer.config.help import options, sections
from trainer.config.schema import CONF, GROUPS
from trainer.errors import ConfigError

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
README = TEXTS[ROOT / "README.md"]
LINTERS = {"ruff", "mypy", "pre-commit"}
PLACEHOLDERS = ("NAME", "…/", "inverse_time")  # names that the reader replaces


def blocks(text, language):
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)


def prose(text):
    """Return the text without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def spans(text):
    return re.findall(r"`([^`\n]+)`", prose(text))


def commands():
    """Return every command of a bash block, and every one within a sentence, as (page's name, command)."""
    seen = []
    for page, text in TEXTS.items():
        lines = [line.partition(" #")[0].strip() for block in blocks(text, "bash") for line in block.splitlines()]
        lines += [span for span in spans(text) if span.startswith(("python -m ", "python scripts/"))]
        seen += [(page.name, line) for line in lines if line and not any(word in line for word in PLACEHOLDERS)]
    return list(dict.fromkeys(seen))


def check_run(arguments, capsys):
    """Compose a run or a study, or let a command read its arguments."""
    if not arguments or arguments[0] in ("--help", "help"):
        assert all(word in COMMANDS or sections(word) for word in arguments[1:])
        return
    if arguments[0] in COMMANDS:
        with pytest.raises((ConfigError, SystemExit)) as caught:
            command_main(arguments[0])([*arguments[1:], "--no-such-option"])
        assert "--no-such-option: there is no such option" in str(caught.value)
        return
    if arguments[0].startswith("resume="):
        Path("outputs/RUN").mkdir(parents=True)
        Path("outputs/RUN/config.yaml").write_text(yaml.safe_dump(compose([])[0].tree(), sort_keys=False))
    assert compose(arguments) or capsys.readouterr().out


def check_script(name, arguments):
    source = (ROOT / name).read_text(encoding="utf-8")
    for flag in (argument for argument in arguments if argument.startswith("--")):
        assert f'"{flag}"' in source, flag
    if "-m" in arguments:
        assert compose(arguments[arguments.index("-m") :])


@pytest.mark.parametrize(("page", "command"), commands())
def test_every_command_could_start(page, command, capsys):
    words = shlex.split(command)
    if "--techniques" in words:
        return  # run below, with the file that the page shows
    if words[:3] == ["python", "-m", "trainer"]:
        check_run(words[3:], capsys)
    elif words[:3] == ["python", "-m", "pytest"]:
        assert all((ROOT / word).is_file() for word in words[3:])
    elif words[0] == "python":
        check_script(words[1], words[2:])
    elif words[0] not in LINTERS:
        assert "-m venv" in command or words[:3] == [".venv/bin/python", "-m", "pytest"], "not a command to check"


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(TEXTS[page]), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    text = prose(TEXTS[page])
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    for link in (link for link in links if not link.startswith("https://")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page):
    for span in spans(TEXTS[page]):
        path, _, name = span.partition(" :: ")
        if re.fullmatch(r"(trainer|conf|scripts|tests|docs)/[\w./-]*", path) and "inverse_time" not in path:
            assert (ROOT / path).exists() or "NAME" in path, span
            assert not name or f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), span


def test_the_configuration_page_is_generated_from_todays_conf(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import write_docs

    page, book = TEXTS[write_docs.PAGE], TEXTS[write_docs.BOOK]
    assert write_docs.updated(page) == page, "run python scripts/write_docs.py"
    assert write_docs.lecture(book) == book, "run python scripts/write_docs.py"
    for group in (*GROUPS, "experiment"):
        assert f"\n## {group}\n" in page
        assert all(f"| `{name.removesuffix(' *')}` | " in page for name, _ in options(group))


def test_the_readme_is_short_and_begins_with_a_picture():
    lines = README.splitlines()
    assert len(lines) <= 150
    assert any("<img " in line for line in lines[:15])


def test_the_readme_counts_the_options_of_every_group(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import write_docs

    assert write_docs.readme(README) == README, "run python scripts/write_docs.py"
    assert {group for groups in write_docs.ROWS for group in groups} == GROUPS.keys()
    optimizers = [file.stem for file in (CONF / "optimizer").glob("*.yaml")]
    assert f"| [optimizer](docs/configuration.md#optimizer) | {len(optimizers)} | " in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_error_that_is_quoted_is_todays(page):
    for block in blocks(TEXTS[page], "text"):
        first, *rest = block.splitlines()
        if first.startswith("$ python -m trainer "):
            with pytest.raises(ConfigError) as caught:
                compose(shlex.split(first)[4:])
            assert rest == [f"trainer: {caught.value}"]


@pytest.mark.parametrize("page", ["README.md", "docs/runs.md"])
def test_the_lines_that_load_a_checkpoint_need_nothing_of_this_project(page):
    quick("epochs=1", "output_dir=outputs/RUN")
    (code,) = (block for block in blocks(TEXTS[ROOT / page], "python") if "safetensors" in block)
    code += "print(*weights['1.1.weight'].shape, description['epoch'], len(description['classes']))"
    done = subprocess.run([sys.executable, "-I", "-c", code], check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("10 128 1 10\n", "")


def test_the_two_commands_are_in_the_readme():
    lines = re.findall(r"^python3 -m venv .*$", README, flags=re.MULTILINE)
    assert len(lines) == 2
    assert lines[0].endswith("python -m trainer dataset=digits")
    assert lines[1].endswith("python -m pytest -q")


def test_the_changelogs_newest_version_is_the_programs():
    titles = re.findall(r"^## \[([^\]]+)\]", TEXTS[ROOT / "CHANGELOG.md"], flags=re.MULTILINE)
    assert titles[:2] == ["Unreleased", __version__]


def test_the_first_technique_of_the_documents_is_trained_as_they_say(in_empty_folder, capsys):
    text = (ROOT / "docs" / "own_techniques.md").read_text()
    Path("mine").mkdir()
    Path("mine/optimizer.py").write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    lines = re.search(r"```bash\n(.*?)```", text, re.DOTALL)[1].splitlines()
    for line in lines:
        words = shlex.split(line, comments=True)[3:]
        short = [] if "--help" in words else ["epochs=1", "dataset.image_size=16", "wandb.mode=disabled"]
        assert main([*words, *short]) == 0
    assert "tiger (yours: mine/optimizer.py)" in " ".join(capsys.readouterr().out.split())
