#!/usr/bin/env bash
# Installs what build, lab, benches and tests need on Debian 12: packages of the distribution, the
# npm packages of package-lock.json (Bun among them; no install script is run), and libpcap,
# libnuma, libsecp256k1 and the curve of libsodium as position-independent code. Does nothing, in a
# fraction of a second, when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  # the build
  gcc g++ make pkg-config dpkg-dev flex bison binutils clang
  libdpdk-dev libhyperscan-dev libipsec-mb-dev libsecp256k1-dev
  # the lab, the benches and the tests: networks
  iproute2 ethtool iputils-ping netcat-openbsd nftables procps util-linux tcpdump tshark
  # traffic: programs that nobody here wrote
  iperf3 curl nginx-light redis-server redis-tools postgresql postgresql-client
  mariadb-server mariadb-client openssh-server openssh-client
  # the switch that quarantine is tested with
  openvswitch-switch
  # where events and metrics go (test/events/)
  rsyslog rsyslog-gnutls nats-server prometheus
  # faults of the ledger's processes: kills at syncs, clocks that are wrong (test/ledger/)
  strace faketime
  # the console's pages, in a browser and with a font
  chromium fonts-dejavu-core
  # the shells that completions are made for
  zsh fish
  # the Debian package: its checker, a system that it is installed on, manual pages
  lintian debootstrap systemd-container groff-base
  # the model of agreement (docs/model/)
  spin
  # what the figures are compared with
  dpdk dpdk-dev wireguard-go wireguard-tools libndpi-bin
)
command -v npm >/dev/null || packages+=(nodejs npm)

install_packages() {
  # Services that a package brings must not start: the tests start their own, in namespaces.
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  local log=build/setup-apt.log
  export DEBIAN_FRONTEND=noninteractive
  echo "setup: installing ${#missing[@]} packages: ${missing[*]}"
  if ! { apt-get -q -o DPkg::Lock::Timeout=300 update &&
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --no-install-recommends \
      "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -30 "$log" >&2
    echo "setup: the packages were not installed (whole log: $log)" >&2
    exit 1
  fi
}

mkdir -p build
mapfile -t missing < <(comm -13 \
  <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null |
    sed -n 's/^installed //p' | sort -u) \
  <(printf '%s\n' "${packages[@]}" | sort -u))
if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "setup: run as root once to install: ${missing[*]}" >&2
    exit 1
  fi
  install_packages
fi

stamp=node_modules/.abs-lock
lock=$(sha256sum <package-lock.json)
if [ "$(cat "$stamp" 2>/dev/null)" != "$lock" ]; then
  echo "setup: installing npm packages"
  npm ci --ignore-scripts --no-audit --no-fund >build/setup-npm.log 2>&1 </dev/null ||
    { cat build/setup-npm.log >&2; exit 1; }
  echo "$lock" >"$stamp"
  rm -f build/bun
fi

# Bun's own install script, which is not run, would put the program for this CPU in its place. The
# packages hold one program a kind of CPU; the first that starts is it.
if [ ! -x build/bun ]; then
  for program in node_modules/@oven/bun-linux-x64/bin/bun \
    node_modules/@oven/bun-linux-x64-baseline/bin/bun node_modules/bun/bin/bun.exe; do
    if [ -x "$program" ] && "$program" --version >/dev/null 2>&1; then
      ln -sfn "../$program" build/bun
      [ "$program" = node_modules/bun/bin/bun.exe ] ||
        ln -sfn "../../../$program" node_modules/bun/bin/bun.exe
      break
    fi
  done
  [ -x build/bun ] || { echo "setup: no Bun of package-lock.json runs on this CPU" >&2; exit 1; }
fi

scripts/deps.sh
