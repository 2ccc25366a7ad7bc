# Sourced by the scripts that need p2seg: makes .venv beside them once and puts it first.
# P2SEG_VENV names another folder; an environment that is there already is taken as it is.
# `needs=dev` before it installs what developers need, too: tests, lint, types, the documentation.
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
venv="${P2SEG_VENV:-.venv}"
ready="$venv/.p2seg-ready${needs:+-$needs}"
if [ ! -f "$ready" ] || [ pyproject.toml -nt "$ready" ]; then
  echo "installing p2seg and what it needs into $venv (some minutes the first time)"
  python="${PYTHON:-python3}"
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "$("$python" --version) is too old: p2seg needs Python 3.10; name one with PYTHON=..." >&2
    exit 2
  fi
  [ -d "$venv" ] || "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e ".${needs:+[$needs]}"
  touch "$venv/.p2seg-ready" "$ready"
fi
export PATH="$root/$venv/bin:$PATH"
