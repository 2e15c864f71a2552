#!/usr/bin/env bash
# Does autoprune still find inside Ultralytics and Optuna what it relies on? Installs the newest of
# both, whatever pyproject.toml allows, and this checkout in a new virtual environment, and runs the
# two files of contracts: minutes to install, seconds to run.
# Usage: tests/newest.sh [PYTHON]      (python3 by default)
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${1:-python3}" -m venv "$work/venv"
python=$work/venv/bin/python
"$python" -m pip install --quiet --disable-pip-version-check "$checkout" "pytest>=8.3"
# Beyond the limits of pyproject.toml: pip says so, and installs them.
"$python" -m pip install --quiet --disable-pip-version-check --upgrade ultralytics optuna
"$python" -m pip list --disable-pip-version-check 2> /dev/null | grep -iE "^(ultralytics|optuna|torch) "
cd "$checkout"
# Without conftest.py, which loads much more, and without the options for the whole suite; a warning
# of a newer version is shown, not an error.
PYTHONPATH=$checkout "$python" -m pytest -p no:cacheprovider --noconftest -o addopts=-q -W default \
  tests/contracts/test_ultralytics_inside.py tests/contracts/test_optuna_inside.py
