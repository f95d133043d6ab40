"""The notebook of the documents runs from its first cell to its last one, in a kernel of its own."""

import pytest
from conftest import ROOT

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


@pytest.fixture
def notebook():
    nbformat = pytest.importorskip("nbformat")
    read = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(read)
    return read


def outputs(cell) -> str:
    return "".join(part.get("text", "") + str(part.get("data", "")) for part in cell.outputs)


@pytest.mark.long
def test_the_notebook_leads_from_the_installation_to_a_verdict(notebook, in_empty_folder, monkeypatch):
    client = pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(in_empty_folder / name))
    client.NotebookClient(notebook, timeout=60).execute()
    trained = next(cell for cell in notebook.cells if "trainer.train(" in cell.source)
    assert [part.data["text/html"] for part in trained.outputs if part.output_type == "display_data"] == [""]
    shown = {cell.source: outputs(cell) for cell in notebook.cells if cell.cell_type == "code"}
    (first, second) = (text for source, text in shown.items() if source.startswith(("run = ", "small = ", "study = ")))
    assert "5/5" in first
    assert "<svg" in second and "5/5" not in second and "tiger" in second
    assert "torch.Size([1, 10])" in "".join(shown.values())
    assert all(word in shown["print(study.verdict)"] for word in ("adam", "tiger", "3 seeds", ", p "))
    assert len([*in_empty_folder.glob("outputs/sweeps/*/*/techniques/optimizer.py.txt")]) == 3


def test_the_notebook_is_kept_without_outputs(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
