# Sourced by scripts that need p2seg: creates .venv in the checkout once and puts it first in PATH.
# P2SEG_VENV names another folder. An existing environment is used as it is.
# With `needs=dev`, the tools of developers are installed too: tests, lint, types, documentation.
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
venv="${P2SEG_VENV:-.venv}"
ready="$venv/.p2seg-ready${needs:+-$needs}"
if [ ! -f "$ready" ] || [ pyproject.toml -nt "$ready" ]; then
  echo "installing p2seg and its dependencies into $venv (some minutes the first time)"
  python="${PYTHON:-python3}"
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "$("$python" --version) is too old: p2seg needs Python 3.10 or later; name it with PYTHON=..." >&2
    exit 2
  fi
  [ -d "$venv" ] || "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e ".${needs:+[$needs]}"
  touch "$venv/.p2seg-ready" "$ready"
fi
export PATH="$root/$venv/bin:$PATH"
