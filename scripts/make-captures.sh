#!/usr/bin/env bash
# Makes the captures of test/captures/ again: real servers and real clients in two network
# namespaces (needs root). Without arguments all scenarios, else the named ones (redis, amqp, …).
# Packages: `make-captures.sh --install`, see test/captures/README.md. The npm clients are taken
# from the folder NPM_FOLDER (default: a new one, filled by npm). Called by hand, never by CI.
set -uo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
BUN=${BUN:-$ROOT/build/bun}
WORK=$(mktemp -d)
NPM_FOLDER=${NPM_FOLDER:-}
chmod 755 "$WORK"
scenario=none
source "$ROOT/test/captures/make/network.sh"
for part in "$ROOT"/test/captures/make/scenarios-*.sh; do source "$part"; done

# No service starts while packages are installed: they run in the namespaces only.
install() {
  local policy=/usr/sbin/policy-rc.d mine=
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; mine=1; }
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    $(sed -n 's/^    apt: //p' "$ROOT/test/captures/README.md")
  [ -z "$mine" ] || rm -f $policy
}

# Clients that only npm has: not the project's, so never in its package.json.
npm_clients() {
  [ -z "$NPM_FOLDER" ] || return 0
  NPM_FOLDER=$WORK/npm
  mkdir -p "$NPM_FOLDER"
  (cd "$NPM_FOLDER" && npm init -y >/dev/null && npm install --ignore-scripts --no-audit \
    --no-fund $(sed -n 's/^    npm: //p' "$ROOT/test/captures/README.md"))
}

trap 'stop_servers; network_down; [ -n "${KEEP:-}" ] && echo "logs: $WORK" || rm -rf "$WORK"' EXIT
if [ "${1:-}" = --install ]; then
  install
  exit
fi
failed=()
[ $# -gt 0 ] || set -- $(declare -F | sed -n 's/^declare -f scenario_//p')
npm_clients
for scenario in "$@"; do
  network_up
  pids=()
  "scenario_$scenario" || failed+=("$scenario")
  stop_servers
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
