#!/usr/bin/env bash
# Two network namespaces joined by a veth pair, a server in one, its clients in the other, tcpdump
# between them: only the traffic of one scenario is in a capture. Checksums are real (offloads off).
# Sourced by scripts/make-captures.sh; the scenarios use serve, await, record, client and finish.

SERVER_NS=abscap-server-$$
CLIENT_NS=abscap-client-$$
S=10.77.0.1
C=10.77.0.2
FLOWS_A_PORT_MAX=12
PACKETS_A_FLOW_MAX=12
pids=()
tcpdump_pid=

network_up() {
  network_down
  ip netns add $SERVER_NS
  ip netns add $CLIENT_NS
  ip link add abscap0 netns $SERVER_NS type veth peer name abscap1 netns $CLIENT_NS
  local pair ns link address
  for pair in "$SERVER_NS abscap0 $S" "$CLIENT_NS abscap1 $C"; do
    read -r ns link address <<<"$pair"
    ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    ip netns exec "$ns" ethtool -K "$link" tx off tso off gso off gro off >/dev/null
    ip -n "$ns" addr add "$address/24" dev "$link"
    ip -n "$ns" link set lo up
    ip -n "$ns" link set "$link" up
    ip -n "$ns" route add default dev "$link"
  done
}

network_down() {
  ip netns del $SERVER_NS 2>/dev/null
  ip netns del $CLIENT_NS 2>/dev/null
  return 0
}

# serve COMMAND… - starts a program in the server's namespace, in a process group of its own.
serve() {
  setsid ip netns exec $SERVER_NS "$@" >"$WORK/$scenario.serve.${#pids[@]}.log" 2>&1 </dev/null &
  pids+=($!)
}

# await PROTOCOL PORT [SECONDS] - until the server listens. Looks at sockets, so sends nothing.
await() {
  local tries=$((${3:-20} * 5))
  until ip netns exec $SERVER_NS ss -Hln"${1:0:1}" "sport = :$2" | grep -q .; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { echo "$scenario: nothing listens on $1 $2" >&2; return 1; }
    sleep 0.2
  done
}

# record - begins the capture; what the server did before (its own start) is not in it.
record() {
  ip netns exec $SERVER_NS tcpdump -i abscap0 -U --immediate-mode -s 2048 -w "$WORK/$scenario.pcap" \
    'ip and (tcp or udp)' 2>"$WORK/$scenario.tcpdump.log" &
  tcpdump_pid=$!
  local tries=50
  until grep -q 'listening on' "$WORK/$scenario.tcpdump.log" 2>/dev/null; do
    tries=$((tries - 1)); [ $tries -gt 0 ] || return 1
    sleep 0.1
  done
}

# client COMMAND… - runs a client, at most SECONDS_MAX seconds. Its exit status does not matter:
# what it sent does.
client() {
  timeout -k 1 "${SECONDS_MAX:-6}" ip netns exec $CLIENT_NS "$@" \
    >>"$WORK/$scenario.client.log" 2>&1 </dev/null
  return 0
}

# typed TEXT COMMAND… - a client that reads TEXT (printf escapes) and has two seconds for answers.
typed() {
  local text=$1
  shift
  { printf '%b' "$text"; sleep 2; } | timeout -k 1 "${SECONDS_MAX:-6}" \
    ip netns exec $CLIENT_NS "$@" >>"$WORK/$scenario.client.log" 2>&1
  return 0
}

# finish PROTOCOL:PORT=APP… - ends servers and capture, keeps each flow's first packets, labels the
# flows by the port of the responder.
finish() {
  sleep 0.4
  kill -INT $tcpdump_pid 2>/dev/null
  wait $tcpdump_pid 2>/dev/null
  stop_servers
  "$BUN" "$ROOT/test/captures/make/flow-cutter.ts" "$WORK/$scenario.pcap" \
    "$ROOT/test/captures/$scenario.pcap" "$ROOT/test/captures/labels.csv" \
    $PACKETS_A_FLOW_MAX $FLOWS_A_PORT_MAX "$@"
}

stop_servers() {
  local pid
  for pid in "${pids[@]}"; do kill -TERM -- "-$pid" 2>/dev/null; done
  for pid in "${pids[@]}"; do
    local tries=25
    while kill -0 "$pid" 2>/dev/null && [ $tries -gt 0 ]; do tries=$((tries - 1)); sleep 0.2; done
    kill -KILL -- "-$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
  pids=()
}
