#!/usr/bin/env bash
# Runs the named suites: unit, ledger, sim, mutations, fuzz, e2e, console, long. Prints each
# suite's seconds and, as the last line, the sums: "N passed, N failed". Exit status 0 only when
# nothing failed, or failed and passed when its file was played once more. A suite that crashes,
# runs out of time, or skips a test has failed. All together have SECONDS_MAX, so that the sums are
# told also where one hangs; `long` has no such end. Logs: build/test/SUITE.log. Called by make.
set -uo pipefail
cd "$(dirname "$0")/.."
export NO_COLOR=1
# The same random numbers each time: a change is judged by what it changes, not by luck. `long` and
# whoever names SEED play others.
export SEED=${SEED:-1000000}
SECONDS_MAX=4700
# Of a whole run: more files that fail at their first try are no disturbance.
FILES_AGAIN_MAX=3
mkdir -p build/test
passed=0
failed=0
files_again=0
second_tries=()
summary=()
logs=()
runner=
trap 'kill "$runner" 2>/dev/null; exit 130' INT TERM

# run NAME SECONDS_MAX PATH… - bun's tests under the paths, in one process; files of it that fail
# are played once more, where that may be (docs/adr/017-a-second-try.md), and so is told.
run() {
  local name=$1 seconds_max=$2 from=$SECONDS note='' files all
  shift 2
  logs+=("build/test/$name.log")
  play "$name" "$seconds_max" "$@"
  if may_try_again "$name"; then
    mapfile -t files < <(failed_files "build/test/$name.log" | sed 's|^|./|')
    mapfile -t -O "${#second_tries[@]}" second_tries < <(sed -n "s/^(fail)/$name:/p" \
      "build/test/$name.log" | sort -u)
    files_again=$((files_again + ${#files[@]}))
    all=$((pass + fail))
    logs+=("build/test/$name-again.log")
    play "$name-again" "$seconds_max" "${files[@]}"
    pass=$((all - fail))
    note='  (a second try)'
  fi
  passed=$((passed + pass))
  failed=$((failed + fail))
  summary+=("$(printf '%-28s %6d s  %6d passed  %4d failed%s' \
    "$name" $((SECONDS - from)) "$pass" "$fail" "$note")")
}

# play NAME SECONDS_MAX PATH… - one try; sets status, pass and fail.
play() {
  local name=$1 seconds_max=$2 log=build/test/$1.log
  shift 2
  pass=0
  fail=1
  status=1
  if [ "$((SECONDS_MAX - SECONDS))" -lt "$seconds_max" ]; then
    seconds_max=$((SECONDS_MAX - SECONDS))
  fi
  echo "== $name"
  # Here, or `tail` may look for it before the runner has made it.
  : >"$log"
  if [ "$seconds_max" -le 0 ]; then
    echo "suite $name was not run: $SECONDS_MAX s are over" | tee "$log"
    return
  fi
  timeout --kill-after=20 "$seconds_max" build/bun test --timeout 60000 "$@" \
    </dev/null >"$log" 2>&1 &
  runner=$!
  # Not by a pipe: it would last as long as a program that a failed test left running.
  tail -f -n +1 -s 0.2 --pid="$runner" "$log" &
  local shower=$!
  wait "$runner"
  status=$?
  # `timeout` has a process group of its own.
  kill -KILL -- "-$runner" 2>/dev/null
  wait "$shower"
  # Bun's own summary: " 12 pass", " 0 fail", " 1 skip", " 1 todo", " 1 error".
  pass=$(sum pass "$log")
  fail=$(($(sum fail "$log") + $(sum 'errors?' "$log") + $(sum '(skip|todo)' "$log")))
  if [ "$status" -ne 0 ] && [ "$fail" -eq 0 ]; then
    echo "suite $name ended with status $status and reported no failed test"
    fail=1
  fi
  if [ "$((pass + fail))" -eq 0 ]; then
    echo "suite $name ran no test"
    fail=1
  fi
}

# may_try_again NAME - whether failed tests, and nothing else, are what keeps a suite from passing,
# and it is one that real time and real networks can disturb: not those that random numbers from
# SEED decide alone, nor the long ones, which are played once and quoted.
may_try_again() {
  local log=build/test/$1.log
  case $1 in sim* | mutations | fuzz | seeds-* | long-*) return 1 ;; esac
  # 124, 137: out of time. Bun's own status with failed tests is 1.
  [ "$fail" -gt 0 ] && [ "$status" -eq 1 ] && [ "$(sum fail "$log")" -eq "$fail" ] &&
    [ "$((files_again + $(failed_files "$log" | wc -l)))" -le "$FILES_AGAIN_MAX" ]
}

# failed_files LOG - the files of which a test failed; bun's list at the end names none.
failed_files() {
  awk '/^[0-9]+ tests? failed:$/ { exit }
    /^[^ ]+\.test\.ts:$/ { file = substr($0, 1, length - 1) }
    /^\(fail\)/ { print file }' "$1" | sort -u
}

# sum WORD LOG - the number before WORD in bun's summary, 0 when it is not there.
sum() {
  sed -nE "s/^ ([0-9]+) $1\$/\\1/p" "$2" | tail -1 | grep . || echo 0
}

# each FOLDER SECONDS_MAX - one process a file of test/FOLDER.
each() {
  local file
  for file in "test/$1"/*.test.ts; do run "$1-$(basename "$file" .test.ts)" "$2" "./$file"; done
}

for suite in "$@"; do
  case $suite in
  unit)
    others=()
    for path in test/*; do
      case $path in
      test/console | test/e2e | test/fuzz | test/ledger | test/long | test/sim | test/mutations) ;;
      *) if [ -d "$path" ]; then
        find "$path" -name '*.test.ts' | grep -q . && others+=("./$path")
      elif [[ $path == *.test.ts ]]; then others+=("./$path"); fi ;;
      esac
    done
    run unit 900 ./src "${others[@]}"
    ;;
  sim) run sim 1200 ./test/sim ;;
  mutations) run mutations 1200 ./test/mutations ;;
  fuzz) run fuzz 1800 ./test/fuzz ;;
  # One process a file: each builds networks and starts programs of its own.
  ledger) each ledger 400 ;;
  e2e) each e2e 1500 ;;
  console) each console 300 ;;
  long)
    unset SEED
    SECONDS_MAX=100000
    each long 3600
    for turn in {1..40}; do run "seeds-$turn" 600 ./test/session ./test/plane ./test/chain; done
    SEEDS=200000 run sim-night 7200 ./test/sim
    ;;
  *)
    echo "no such suite: $suite" >&2
    exit 2
    ;;
  esac
done

printf '\n'
printf '%s\n' "${summary[@]}"
for name in "${second_tries[@]}"; do echo "failed at its first try: $name"; done
# What failed, again: a log's tail is often all that is read.
if [ "$((failed + ${#second_tries[@]}))" -gt 0 ]; then
  telling='^ *(\(fail\)|suite .* not run|FAULT|[A-Za-z]*[Ee]rror:|grew by|Expected|Received|code:)'
  grep -hE "$telling" "${logs[@]}" | cut -c 1-300 | tail -40
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
