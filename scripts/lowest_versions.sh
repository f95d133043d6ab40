#!/usr/bin/env bash
# Installs the lowest versions that pyproject.toml declares, on the lowest Python, and runs the tests on them.
#
#   scripts/lowest_versions.sh                      every test, but for those of scripts and of the package itself
#   scripts/lowest_versions.sh tests/test_run.py    these
#
# Needs uv (pip install uv) and about 8 GB: torch's oldest wheel brings CUDA along. PLACE: where the environment goes
# (default: a temporary folder, removed at the end). PYTHON: which one; default 3.10.
set -euo pipefail
cd "$(dirname "$0")/.."
place=${PLACE:-$(mktemp -d)}
[ -n "${PLACE:-}" ] || trap 'rm -rf "$place"' EXIT
[ -x "$place/bin/python" ] || uv venv -q --python "${PYTHON:-3.10}" "$place"
# Of what is declared here the lowest, of what that needs in turn the newest: so it is installed by someone who pins us.
uv pip install -q --python "$place/bin/python" --resolution lowest-direct -e '.[dev]'
uv pip list --python "$place/bin/python" | grep -iE '^(torch|torchvision|hydra-core|omegaconf|pydantic|wandb|rich|optuna|scikit-learn|scipy|pillow|tqdm|numpy|pyyaml|annotated-types|markupsafe|matplotlib|onnx|onnxscript|onnxruntime|pyarrow|tensorboard|safetensors|hypothesis) '
tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(tests --ignore=tests/test_package.py)
OMP_NUM_THREADS=1 "$place/bin/python" -m pytest -q -W default "${tests[@]}"
