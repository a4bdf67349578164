#!/bin/sh
# Make a virtual environment in $1 with $PYTHON (3.11 or newer). Debian packages venv separately from python3. Where it
# is missing, try `virtualenv`, then Debian's package if this user may install it; else say what to install.
set -eu
target=$1
python=${PYTHON:-python3}

command -v "$python" >/dev/null || { echo "error: $python not found; install Python 3.11 or newer, or run 'make PYTHON=/path/to/python3'" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $("$python" --version) is too old; Python 3.11 or newer is needed: 'make PYTHON=python3.11'" >&2; exit 1; }

rm -rf "$target"
if "$python" -c 'import ensurepip, venv' 2>/dev/null && "$python" -m venv "$target"; then exit 0; fi
rm -rf "$target"
if "$python" -m virtualenv "$target" 2>/dev/null; then exit 0; fi
rm -rf "$target"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "python3-venv is missing; installing it with apt-get" >&2
    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null && "$python" -m venv "$target" && exit 0
fi
echo "error: $python has no venv module; on Debian run 'apt-get install python3-venv', then make again" >&2
exit 1
