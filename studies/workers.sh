#!/usr/bin/env bash
# Plain ssh: one worker on each machine, for a study that a search has begun.
#   AUTOPRUNE_STORAGE=postgresql+psycopg://... studies/workers.sh NAME machine-a machine-b ...
# The URL goes through standard input: it is in no process list, here or there.
set -euo pipefail
study="${1:?usage: studies/workers.sh NAME MACHINE ...}"
shift
: "${AUTOPRUNE_STORAGE:?the URL of the database}"
command="IFS= read -r AUTOPRUNE_STORAGE && export AUTOPRUNE_STORAGE"
command+=" && exec autoprune worker --study $(printf '%q' "$study")"
for machine in "$@"; do
  printf '%s\n' "$AUTOPRUNE_STORAGE" | ssh -o BatchMode=yes "$machine" "$command" 2>&1 \
    | sed "s/^/$machine: /" &
done
wait
