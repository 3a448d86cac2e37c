#!/bin/sh
# Installs pinned requirements and this project into a venv: with uv where there is one, ten times as fast, else with pip.
#   scripts/install.sh BIN_FOLDER REQUIREMENTS_FILE
set -eu
bin=$1 requirements=$2
echo "Installing $requirements ..."
if command -v uv >/dev/null 2>&1; then
    uv pip install --quiet --python "$bin/python" --require-hashes -r "$requirements"
    uv pip install --quiet --python "$bin/python" --no-deps --no-build-isolation -e .
else
    "$bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$requirements"
    "$bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
fi
