#!/usr/bin/env bash
# Builds build/libabs_shim.so: the shim with DPDK, intel-ipsec-mb, Hyperscan, libpcap and libnuma
# linked in statically, and its companion build/libabs_curves.so with libsecp256k1 and libsodium's
# edwards25519, so that both need glibc only (checked at the end). Called by make.
#   build      build/libabs_shim.so
#   curves     build/libabs_curves.so
#   check      gcc and clang, every warning an error, nothing written
#   oracle     dist/abs-oracle: bench/oracle*.c and the shim's objects, for `abs bench`
#   sanitize   build/shim-test, build/secp-test, build/edwards-test: test/c/*_test.c with what they
#              drive, under address and UB sanitizers
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-build}
curves=(c/secp_shim.c c/edwards_shim.c)
sources=()
for source in c/*_shim.c; do
  [[ " ${curves[*]} " = *" $source "* ]] || sources+=("$source")
done
oracle=(bench/oracle*.c bench/forward.c)
warnings=(-Wall -Wextra -Wconversion -Wshadow -Werror)
flags=(-std=gnu11 -O3 -march=x86-64-v2 -fPIC -fvisibility=hidden -ffunction-sections
  -fdata-sections)
# DPDK's own headers do not pass these warnings: -isystem silences them there and only there. Its
# pkg-config asks for -march=corei7, which is what x86-64-v2 is called there; ours comes last.
read -ra dpdk <<<"$(pkg-config --cflags libdpdk | sed 's/-I/-isystem /g; s/-march=[^ ]*//')"
# libsodium's inner headers, with the width of limbs that scripts/deps.sh compiled it for.
sodium=(-isystem build/deps/include/sodium -DHAVE_TI_MODE=1 -DCONFIGURED=1 -DSODIUM_STATIC=1)
curve_libraries=(build/deps/lib/libsecp256k1.a build/deps/lib/libedwards25519.a -Wl,--gc-sections)

libraries=/usr/lib/x86_64-linux-gnu
drivers=(bus_vdev bus_pci mempool_ring net_af_packet net_tap net_pcap net_ring net_null net_memif
  net_virtio net_vmxnet3 net_ena net_e1000 net_ixgbe net_i40e net_iavf common_iavf)
# Whole: drivers register themselves by constructors that nothing refers to.
whole=()
for driver in "${drivers[@]}"; do whole+=("-l:librte_$driver.a"); done
core=()
for name in node graph vhost stack security sched reorder rcu ip_frag gso gro cryptodev hash meter \
  timer metrics cmdline pci ethdev net mbuf mempool ring eal telemetry kvargs dmadev bpf; do
  core+=("-l:librte_$name.a")
done
link=(-Wl,--wrap=eal_cpu_detected,--wrap=rte_eal_check_module,--wrap=setsockopt
  -Wl,--whole-archive "${whole[@]}" -Wl,--no-whole-archive
  -Wl,--start-group "${core[@]}" -Wl,--end-group build/deps/lib/libpcap.a build/deps/lib/libnuma.a
  -l:libIPSec_MB.a -l:libhs.a -Wl,--gc-sections)

# compile FOLDER FLAGS SOURCE… - one object a source, in build/FOLDER, side by side; sets `objects`.
compile() {
  local folder=build/$1 extra=$2 source object job jobs_started=()
  shift 2
  mkdir -p "$folder"
  for source in "$@"; do
    object=$folder/$(basename "${source%.c}").o
    objects+=("$object")
    # shellcheck disable=SC2086
    gcc "${flags[@]}" $extra "${warnings[@]}" "${dpdk[@]}" "${sodium[@]}" -c "$source" \
      -o "$object" &
    jobs_started+=($!)
  done
  for job in "${jobs_started[@]}"; do wait "$job"; done
}

# link_shared NAME FOLDER WHAT… - build/NAME.so: exports abs_* only, needs nothing but glibc.
link_shared() {
  local name=$1 folder=build/$2 glibc strangers
  shift 2
  printf '{ global: abs_*; local: *; };\n' >"$folder/exports.map"
  g++ -shared -static-libstdc++ -static-libgcc -Wl,--version-script="$folder/exports.map" \
    -Wl,-Bsymbolic -Wl,-z,defs -Wl,-z,now -Wl,-z,noexecstack -o "$folder/$name.so" "$@"
  strip --strip-unneeded "$folder/$name.so"
  glibc='libc\.so\.6|libm\.so\.6|libdl\.so\.2|libpthread\.so\.0|librt\.so\.1|ld-linux-x86-64\.so\.2'
  strangers=$(readelf -d "$folder/$name.so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' |
    grep -vE "^($glibc)\$" || true)
  if [ -n "$strangers" ]; then
    echo "build/$name.so would need more than glibc: $strangers" >&2
    exit 1
  fi
  mv "$folder/$name.so" "build/$name.so"
}

objects=()
case $mode in
check)
  for compiler in gcc clang; do
    for source in "${sources[@]}" "${curves[@]}" "${oracle[@]}" test/c/*.c; do
      [ ! -f "$source" ] ||
        "$compiler" "${flags[@]}" "${warnings[@]}" "${dpdk[@]}" "${sodium[@]}" -fsyntax-only \
          "$source"
    done
  done
  ;;
build)
  compile shim "" "${sources[@]}"
  link_shared libabs_shim shim "${objects[@]}" "${link[@]}" -lm -ldl -lpthread
  ;;
curves)
  compile curves "" "${curves[@]}"
  link_shared libabs_curves curves "${objects[@]}" "${curve_libraries[@]}"
  ;;
oracle)
  compile oracle "" "${oracle[@]}"
  g++ -static-libstdc++ -static-libgcc -o dist/abs-oracle "${objects[@]}" build/shim/*.o \
    "${link[@]}" -lm -ldl -lpthread
  ;;
sanitize)
  # Not the libraries' code: theirs is linked as it is. -O1 keeps the reports readable.
  sanitizers="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
  compile shim-asan "$sanitizers" "${sources[@]}" test/c/shim_test.c
  g++ -fsanitize=address,undefined -o build/shim-test "${objects[@]}" "${link[@]}" \
    -lm -ldl -lpthread
  for name in secp edwards; do
    objects=()
    compile curves-asan "$sanitizers" "${curves[@]}" "test/c/${name}_test.c"
    gcc -fsanitize=address,undefined -o "build/$name-test" "${objects[@]}" \
      "${curve_libraries[@]}"
  done
  ;;
*)
  echo "usage: scripts/shim.sh build|curves|check|oracle|sanitize" >&2
  exit 2
  ;;
esac
