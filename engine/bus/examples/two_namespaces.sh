#!/usr/bin/env bash
# Two machines that share a bus through Redis or NATS, as two network namespaces of this one: the first records and
# relays, the second reads what came, with no file in common. Needs root, ip, redis-server or nats-server, and the program
# tapeline:
#
#     cargo build -p tapeline-cli && engine/bus/examples/two_namespaces.sh redis|nats [target/debug/tapeline]
set -euo pipefail
backend=$1
tapeline=$(realpath "${2:-target/debug/tapeline}")
net=tape$$
scratch=$(mktemp -d)

finish() {
    kill ${relay:-} ${server:-} 2>/dev/null || true
    wait
    ip netns del "$net-a" 2>/dev/null || true
    ip netns del "$net-b" 2>/dev/null || true
    ip link del "$net" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT

# A switch, and two machines at it; the server is at the switch.
ip link add "$net" type bridge
ip addr add 10.213.77.1/24 dev "$net"
ip link set "$net" up
for machine in a b; do
    ip netns add "$net-$machine"
    ip link add "$net$machine" type veth peer name eth0 netns "$net-$machine"
    ip link set "$net$machine" master "$net" up
    ip -n "$net-$machine" addr add "10.213.77.$([ "$machine" = a ] && echo 2 || echo 3)/24" dev eth0
    ip -n "$net-$machine" link set eth0 up
done
on() { ip netns exec "$net-$1" "${@:2}"; }

case $backend in
redis)
    redis-server --bind 10.213.77.1 --port 6379 --protected-mode no --save '' --dir "$scratch" >/dev/null &
    url=redis://10.213.77.1 port=6379
    ;;
nats)
    nats-server -a 10.213.77.1 -p 4222 -js -sd "$scratch" >/dev/null 2>&1 &
    url=nats://10.213.77.1 port=4222
    ;;
*)
    echo "two_namespaces: $backend is neither redis nor nats" >&2
    exit 2
    ;;
esac
server=$!
until (: <"/dev/tcp/10.213.77.1/$port") 2>/dev/null; do kill -0 "$server"; done

# The first machine: a relay follows the log while a recording writes it, and is drained by a signal.
seq 1 1000 | on a "$tapeline" record "$scratch/first" --format jsonl --session numbers
ip netns exec "$net-a" "$tapeline" relay "$scratch/first" --to "$url" &
relay=$!
seq 1001 2000 | on a "$tapeline" record "$scratch/first" --format jsonl --session numbers
until [ "$("$tapeline" cursor ls "$scratch/first" --json | grep -c '"lag_events":0')" = 1 ]; do kill -0 "$relay"; done
kill "$relay"
wait "$relay"

# The second machine: the same events, from the server alone.
on b "$tapeline" import "$scratch/second" --from "$url"
on b "$tapeline" replay "$scratch/second" --session numbers --format raw | cmp - <(seq 1 2000)
echo "2000 lines went from one machine to the other"
