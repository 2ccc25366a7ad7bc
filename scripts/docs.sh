#!/usr/bin/env bash
# Builds the documentation into site/, which opens from disk: site/index.html.
#   ./scripts/docs.sh          builds it; any warning ends it
#   ./scripts/docs.sh serve    shows it at http://127.0.0.1:8000 and follows changes
set -euo pipefail
needs=dev . "$(dirname "$0")/_environment.sh"
export NO_MKDOCS_2_WARNING=1  # news of the theme's makers
if [ "${1:-}" = serve ]; then
  shift
  exec python -m mkdocs serve "$@"
fi
python -m mkdocs build --strict "$@"  # with --quiet no warning would count
echo "the documentation is in site/: open site/index.html"
