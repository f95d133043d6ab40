#!/usr/bin/env bash
# Packs what scripts/gpu_check.py needs on a machine with a GPU and no network, and prints the command to run there.
#
#   scripts/gpu_check.sh            wheels only: the digits that come with scikit-learn are the data
#   scripts/gpu_check.sh DATA       real images as well, of the folder DATA: MNIST/raw/*-ubyte, and cifar10-images.tar,
#                                   an archive of train/<class>/* and test/<class>/*
#
# That machine has Python 3.12 on x86-64, and the packages of HAS. wandb stays here: a run trains without it. Copy this
# checkout and PLACE (default .gpu, which git ignores) there; together they may have at most 64 MiB.
# Needs Python 3.11 with pip.
set -euo pipefail
cd "$(dirname "$0")/.."
HAS="torch torchvision numpy scipy scikit-learn pillow safetensors PyYAML tqdm jinja2 markupsafe packaging"
LIMIT=$((64 * 1024 * 1024))
data=${1:-}
place=${PLACE:-.gpu}
if [ -n "$data" ] && [ ! -d "$data/MNIST/raw" ] && [ ! -f "$data/cifar10-images.tar" ]; then
  echo "$data: holds neither MNIST/raw nor cifar10-images.tar" >&2
  exit 2
fi
target=(--only-binary=:all: --python-version 3.12 --implementation cp)
for platform in manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64; do
  target+=(--platform "$platform")
done
mkdir -p "$place/wheels"
rm -f "$place"/wheels/*.whl "$place/data.tar.gz" # two versions of a package would stop the installation
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

# antlr4 4.9.3, which omegaconf needs, has no wheel on PyPI.
python3 -m pip wheel -q --no-deps -w "$temporary" antlr4-python3-runtime==4.9.3
python3 - "$HAS" > "$temporary/asked.txt" <<'PYTHON'
import re, sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
extras = project["optional-dependencies"]
tests = [each for each in extras["dev"] if re.match("pytest|hypothesis", each)]
for each in (*project["dependencies"], *extras["joblib"], *tests):
    if re.match(r"[\w-]+", each)[0].lower() not in (*sys.argv[1].lower().split(), "wandb"):
        print(each)
PYTHON
# First every version, then only the files that are missing there: torch alone would be larger than LIMIT.
python3 -m pip install -q --dry-run --ignore-installed --report "$temporary/report.json" --target "$temporary/none" \
  --find-links "$temporary" "${target[@]}" -r "$temporary/asked.txt"
python3 - "$HAS" "$temporary/report.json" > "$temporary/pinned.txt" <<'PYTHON'
import json, re, sys
plain = lambda name: re.sub(r"[-_.]+", "-", name).lower()
for each in json.load(open(sys.argv[2]))["install"]:
    found = each["metadata"]
    if plain(found["name"]) not in map(plain, sys.argv[1].split()):
        print(f"{found['name']}=={found['version']}")
PYTHON
python3 -m pip download -q --no-deps --find-links "$temporary" "${target[@]}" -d "$place/wheels" \
  -r "$temporary/pinned.txt"

unpack="" options=""
if [ -n "$data" ]; then
  mkdir "$temporary/data"
  [ ! -d "$data/MNIST/raw" ] || cp --no-preserve=mode -r "$data/MNIST" "$temporary/data"
  [ ! -f "$data/cifar10-images.tar" ] || tar -xf "$data/cifar10-images.tar" -C "$temporary/data"
  # Compressed as a whole: half of a small JPEG is a header that all of them share.
  tar --sort=name --owner=0 --group=0 --mode=u+w -C "$temporary/data" -c . | gzip -9n > "$place/data.tar.gz"
  unpack=" && mkdir -p /tmp/gpu_data && tar -xzf $place/data.tar.gz -C /tmp/gpu_data"
  options=" --data-dir /tmp/gpu_data"
fi

# What git would copy, and what it ignores of PLACE.
total() { awk '{sum += $1} END {print sum + 0}'; }
tree=$(git ls-files -z --cached --others --exclude-standard | (xargs -0 stat -c %s 2>/dev/null || true) | total)
packed=$(find "$place" -type f -printf '%s\n' | total)
mebibytes() { LC_ALL=C awk "BEGIN {printf \"%.1f MiB\", $1 / 2^20}"; }
count=$(find "$place/wheels" -name '*.whl' | wc -l)
echo "$count wheels; checkout $(mebibytes "$tree"), $place $(mebibytes "$packed"), of at most 64 MiB"
if [ $((tree + packed)) -gt "$LIMIT" ]; then
  echo "too large: leave DATA out, or give a folder with one of its two data sets" >&2
  exit 1
fi
echo "Copy the checkout and $place, then run in the checkout there:"
echo "python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/gpu_site" \
  "$place/wheels/*.whl$unpack && PYTHONPATH=/tmp/gpu_site:. python3 scripts/gpu_check.py --device cuda$options" \
  "--out gpu_check"
