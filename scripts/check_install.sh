#!/usr/bin/env bash
# Proves the installation as users have it, from the last commit: the README's first command in a fresh copy, then the
# wheel, built out of the sdist, outside the checkout, with the core alone and with each extra alone: atari, doom and
# tensorboard, and with --all every other one. Needs Python, make and git.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null; rm -rf "$place"' EXIT
export OMP_NUM_THREADS=1 COLUMNS=120
unset PYTHONDONTWRITEBYTECODE  # a fresh environment is compiled once, not by each command

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

with_extra() { # with_extra VENV EXTRA: makes VENV hold the wheel with an extra, or none, and nothing else
  local wheel
  wheel=$(ls "$place"/dist/*.whl)
  [ -d "$place/$1" ] || quietly "$uv" venv --quiet --python "$python" "$place/$1"
  quietly "$uv" pip install --quiet --exact --python "$place/$1/bin/python" \
    --constraint "$root/constraints.txt" "$wheel${2:+[$2]}"
  spl=$place/$1/bin/spl
  mkdir "$place/at-${2:-core}" && cd "$place/at-${2:-core}"
}

works() { # works EXTRA: what was installed did all that it should; what belongs to another extra is refused
  [ "$1" = atari ] || refuses "pip install 'ale-py>=" "$spl" train agent --config atari
  [ "$1" = doom ] || refuses "pip install 'vizdoom>=" "$spl" train agent --config doom
  say "the wheel with ${1:-the core alone} works outside the checkout"
}

core() { # the whole way, and TensorBoard, which has no command: a run writes for it where it is installed
  local spl run version
  with_extra "$1" ""
  quietly "$spl" presets
  version="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml") ($(git -C "$root" rev-parse HEAD | cut -c1-7))"
  quietly test "$("$spl" --version)" = "$version"
  quietly "$spl" train agent --num_steps 300
  run=$(echo runs/agent/*)
  quietly "$spl" evaluate agent "$run" --num_episodes 1 --num_seeds 1
  quietly "$spl" record --env spl/Beacon-v0 --num_steps 100 --out recording
  quietly "$spl" pretrain autoencoder --data recording --recipe.epochs 1
  quietly "$spl" film "$run" --duration_s 1
  quietly "$spl" report "$run"
  works ""
  with_extra "$1" tensorboard
  quietly env HOME=/proc/none "$spl" train agent --num_steps 300  # nothing is written outside the folder of runs
  quietly ls runs/agent/*/tensorboard/events*
  works tensorboard
}

games() { # each game as the only extra: it trains
  local spl extra
  for extra in atari doom; do
    with_extra "$1" "$extra"
    quietly "$spl" train agent --config "$extra" --num_steps 60
    works "$extra"
  done
}

others() { # every other extra, each for what it is there for
  local spl run
  with_extra "$1" onnx
  quietly "$spl" train agent --num_steps 300
  run=$(realpath runs/agent/*)
  quietly "$spl" export agent "$run" --to onnx --out agent.onnx
  quietly "$place/$1/bin/python" "$root/examples/play_onnx.py" agent.onnx
  works onnx
  with_extra "$1" hub
  refuses "hub:nobody/nothing" env HF_HUB_OFFLINE=1 "$spl" evaluate agent hub:nobody/nothing
  works hub
  with_extra "$1" search
  echo 'agent.learning_rate: {low: 1e-4, high: 1e-3, log: true}' >space.yaml
  quietly "$spl" search agent --space space.yaml --num_trials 2 --num_seeds 1 --num_steps 200 --num_episodes 1
  works search
  with_extra "$1" box2d
  quietly "$spl" train agent --env CarRacing-v3 --num_steps 60
  works box2d
  with_extra "$1" retro
  quietly "$spl" train agent --env retro:Airstriker-Genesis --num_steps 60
  works retro
  with_extra "$1" minigrid
  quietly "$spl" train agent --env minigrid:MiniGrid-Empty-8x8-v0 --num_steps 60 \
    --env.wrappers minigrid.wrappers:RGBImgPartialObsWrapper
  works minigrid
  with_extra "$1" minari
  quietly env MINARI_DATASETS_PATH="$PWD/datasets" "$spl" record --num_steps 60 --format minari --out beacon/random-v0
  quietly env MINARI_DATASETS_PATH="$PWD/datasets" "$spl" show data minari:beacon/random-v0
  works minari
  with_extra "$1" lerobot
  quietly "$spl" record --num_steps 60 --format lerobot --out beacon
  quietly "$spl" show data lerobot:beacon
  works lerobot
  with_extra "$1" watch
  refuses "there is no display" env -u DISPLAY -u WAYLAND_DISPLAY "$spl" watch spl/Beacon-v0 --human
  works watch
  with_extra "$1" wandb
  quietly env WANDB_MODE=offline "$spl" train agent --num_steps 300 --track wandb
  works wandb
  with_extra "$1" mlflow
  quietly "$spl" train agent --num_steps 300 --track mlflow
  works mlflow
}

git clone --quiet "$root" "$place/copy"
cd "$place/copy"
quietly env -u VIRTUAL_ENV make demo DEMO="--num_steps 100 --env.kwargs.num_rounds 8"
say "make demo works in a fresh copy"
uv=$place/copy/.venv/bin/uv python=$place/copy/.venv/bin/python
quietly "$uv" build --quiet --out-dir "$place/dist" "$place/copy"  # the sdist, and out of it the wheel
core one &
first=$!
games two &
second=$!
wait "$second"
wait "$first"
[ "${1:-}" != --all ] || others one
