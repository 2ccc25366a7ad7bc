#!/usr/bin/env bash
# Builds the documentation into site/, which opens from disk: site/index.html.
#   ./scripts/docs.sh          builds it; any warning is an error
#   ./scripts/docs.sh serve    serves it at http://127.0.0.1:8000 and rebuilds after changes
set -euo pipefail
needs=dev . "$(dirname "$0")/_environment.sh"
export NO_MKDOCS_2_WARNING=1  # hides an announcement of the theme
if [ "${1:-}" = serve ]; then
  shift
  exec python -m mkdocs serve "$@"
fi
python -m mkdocs build --strict "$@"  # --quiet would hide the warnings that --strict counts
echo "the documentation is in site/: open site/index.html"
