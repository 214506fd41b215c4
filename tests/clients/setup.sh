#!/usr/bin/env bash
# Makes the clients that others wrote and that the tests judge by: node_modules and a Python venv with the pinned
# versions, in target/clients or $TIDINGS_CLIENTS_DIR. Does nothing when they are there already.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
clients="${TIDINGS_CLIENTS_DIR:-$here/../../target/clients}"
mkdir -p "$clients"
clients="$(cd "$clients" && pwd)"

wanted="$(cat "$here/setup.sh" "$here/package-lock.json" "$here"/requirements*.txt | sha256sum)"
if [ "$(cat "$clients/stamp" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi

packages=()
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
if [ "${#packages[@]}" -gt 0 ]; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
fi

cp "$here/package.json" "$here/package-lock.json" "$clients/"
npm ci --prefix "$clients" --no-audit --no-fund --loglevel=error
rm -rf "$clients/venv"
python3 -m venv "$clients/venv"
"$clients/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
"$clients/venv/bin/pip" install -q --disable-pip-version-check --no-deps --use-deprecated=legacy-resolver \
    -r "$here/requirements-legacy.txt"
# Last, so that a run that was cut off is made up for.
printf '%s\n' "$wanted" > "$clients/stamp"
