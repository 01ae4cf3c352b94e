#!/usr/bin/env bash
# Proves the installation as users have it, from the last commit: the README's first command in a fresh copy, then the
# wheel outside the checkout, with the core alone and with each extra alone. Needs Python, make and git; about two minutes.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null; rm -rf "$place"' EXIT
export OMP_NUM_THREADS=1 COLUMNS=120

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

quietly() { # runs a command, shows its output only if it fails
  local log
  log=$(mktemp -p "$place")
  "$@" >"$log" 2>&1 || { echo "FAILED: $*"; tail -n 30 "$log"; return 1; }
}

refuses() { # refuses WORDS COMMAND: it must fail in one line that holds the words, with no traceback
  local words=$1 said
  shift
  if said=$("$@" 2>&1); then echo "FAILED: expected a refusal of: $*"; return 1; fi
  if [[ $said != *"$words"* || $said == *Traceback* || $(wc -l <<<"$said") -gt 1 ]]; then
    echo "FAILED: expected one line with \"$words\" from: $*"; echo "$said"; return 1
  fi
}

journey() { # journey NAME EXTRA: installs the wheel with an extra, or none, and goes through what needs no other
  local spl=$place/$1/bin/spl wheel
  wheel=$(ls "$place"/dist/*.whl)
  mkdir "$place/at-$1" && cd "$place/at-$1"
  quietly "$uv" venv --quiet --python "$python" "$place/$1"
  quietly "$uv" pip install --quiet --python "$place/$1/bin/python" --constraint "$root/constraints.txt" "$wheel${2:+[$2]}"
  quietly "$spl" presets
  quietly "$spl" train agent --num_steps 300
  local run
  run=$(echo runs/agent/*)
  quietly "$spl" evaluate agent "$run" --num_episodes 2 --num_seeds 1
  quietly "$spl" record --env spl/Beacon-v0 --num_steps 300 --out recording
  quietly "$spl" pretrain autoencoder --data recording --recipe.epochs 1
  quietly "$spl" film "$run" --duration_s 2
  quietly "$spl" report "$run"
  case ${2:-} in
    atari) quietly "$spl" train agent --config atari --num_steps 60 ;;
    doom) quietly "$spl" train agent --config doom --num_steps 60 ;;
    tensorboard) quietly ls "$run"/tensorboard/events* ;;
  esac
  [ "${2:-}" = atari ] || refuses "pip install 'ale-py>=" "$spl" train agent --config atari
  [ "${2:-}" = doom ] || refuses "pip install 'vizdoom>=" "$spl" train agent --config doom
  say "the wheel with ${2:-the core alone} works outside the checkout"
}

git clone --quiet "$root" "$place/copy"
cd "$place/copy"
quietly env -u VIRTUAL_ENV make demo DEMO="--num_steps 300"
say "make demo works in a fresh copy"
uv=$place/copy/.venv/bin/uv python=$place/copy/.venv/bin/python
quietly "$uv" build --quiet --wheel --out-dir "$place/dist" "$place/copy"
(journey core ""; journey tensorboard tensorboard) &
first=$!
(journey atari atari; journey doom doom) &
second=$!
wait "$second"
wait "$first"
