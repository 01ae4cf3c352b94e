#!/usr/bin/env bash
# Everything that a GPU should be asked, in at most 8 minutes: one JSON file and a Markdown table to put into docs/results.md.
#
#   make .venv/dev && scripts/check_gpu.sh [FOLDER]        # FOLDER: gpu_check unless given
#   DEVICE=cpu scripts/check_gpu.sh --quick                # tries the script itself, without a GPU
set -euo pipefail
cd "$(dirname "$0")/.."
python=$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)
exec "$python" scripts/checks/gpu.py --device "${DEVICE:-cuda}" "$@"
