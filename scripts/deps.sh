#!/usr/bin/env bash
# Builds libpcap.a, libnuma.a, libsecp256k1.a and libedwards25519.a (libsodium's group) as
# position-independent code into build/deps, because Debian's own static builds of the first three
# cannot go into a shared object, and the last one's headers are not in its package. Source:
# `apt-get source` through a deb-src copy of the machine's own package sources, kept under build/:
# /etc/apt is untouched. libpcap is configured without D-Bus, Bluetooth, USB, RDMA and netlink
# helpers: the shim only reads and writes capture files and kernel interfaces. Does nothing when
# build/deps/done was written by this text.
set -euo pipefail
cd "$(dirname "$0")/.."
deps=$PWD/build/deps
recipe=$(sha256sum <scripts/deps.sh)
[ "$(cat "$deps/done" 2>/dev/null)" = "$recipe" ] && exit 0
echo "setup: building libpcap, libnuma, libsecp256k1, libsodium as position-independent code"

work=$deps/work
rm -rf "$deps"
mkdir -p "$work/sources" "$work/lists/partial" "$deps/lib" "$deps/include"

# Both formats a Debian machine may have: deb822 (*.sources) and one line an entry (*.list).
for file in /etc/apt/sources.list.d/*.sources; do
  [ -f "$file" ] || continue
  sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/sources/$(basename "$file")"
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ -f "$file" ] || continue
  sed -n 's/^deb /deb-src /p' "$file" >"$work/sources/$(basename "${file%.list}").list"
done
apt_options=(-q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/sources"
  -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
apt-get "${apt_options[@]}" update >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; exit 1; }
(cd "$work" && apt-get "${apt_options[@]}" source libpcap numactl libsecp256k1 libsodium \
  >>apt.log 2>&1) ||
  { cat "$work/apt.log" >&2; exit 1; }

(
  cd "$work"/libpcap-*/
  CFLAGS="-O2 -fPIC" ./configure --disable-shared --disable-dbus --disable-bluetooth --disable-usb \
    --disable-netmap --disable-rdma --without-dpdk --without-libnl --without-dag --without-septel \
    --without-snf --without-turbocap
  make -j"$(nproc)" libpcap.a
  cp libpcap.a "$deps/lib/"
) >"$work/libpcap.log" 2>&1 || { tail -30 "$work/libpcap.log" >&2; exit 1; }

(
  # Only the library: its six C files need no configure. Symbol versions mean nothing inside a
  # static library and would have to be repeated in the shim's version script, so they go.
  cd "$work"/numactl-*/
  : >config.h
  sed -i 's/#define SYMVER(a,b).*/#define SYMVER(a,b)/' util.h
  for source in libnuma syscall distance affinity sysfs rtnetlink; do
    gcc -O2 -fPIC -w -I. -ffunction-sections -fdata-sections -c "$source.c" -o "$source.o"
  done
  ar rcs "$deps/lib/libnuma.a" libnuma.o syscall.o distance.o affinity.o sysfs.o rtnetlink.o
) >"$work/libnuma.log" 2>&1 || { tail -30 "$work/libnuma.log" >&2; exit 1; }

(
  # Three C files, without the optional modules; the tables are of the sizes that the library's own
  # configure would choose. Its functions stay inside whatever they are linked into.
  cd "$work"/libsecp256k1-*/
  for source in secp256k1 precomputed_ecmult precomputed_ecmult_gen; do
    gcc -O2 -fPIC -w -I. -Iinclude -fvisibility=hidden -DSECP256K1_API= -DUSE_ASM_X86_64=1 \
      -DECMULT_WINDOW_SIZE=15 -DECMULT_GEN_PREC_BITS=4 -ffunction-sections -fdata-sections \
      -c "src/$source.c" -o "$source.o"
  done
  ar rcs "$deps/lib/libsecp256k1.a" secp256k1.o precomputed_ecmult.o precomputed_ecmult_gen.o
) >"$work/libsecp256k1.log" 2>&1 || { tail -30 "$work/libsecp256k1.log" >&2; exit 1; }

(
  # The group of edwards25519 and what it calls, with the headers inside libsodium that declare it
  # (c/edwards_shim.c says why not its public functions). HAVE_TI_MODE: limbs of 51 bits in 64.
  cd "$work"/libsodium-*/src/libsodium
  for source in crypto_core/ed25519/ref10/ed25519_ref10 sodium/utils; do
    gcc -O2 -fPIC -w -Iinclude/sodium -fvisibility=hidden -DCONFIGURED=1 -DSODIUM_STATIC=1 \
      -DHAVE_TI_MODE=1 -DNATIVE_LITTLE_ENDIAN=1 -DHAVE_EXPLICIT_BZERO=1 -ffunction-sections \
      -fdata-sections -c "$source.c" -o "$(basename "$source").o"
  done
  ar rcs "$deps/lib/libedwards25519.a" ed25519_ref10.o utils.o
  mkdir -p "$deps/include/sodium"
  cp -r include/sodium/{private,export.h,utils.h} "$deps/include/sodium/"
) >"$work/libsodium.log" 2>&1 || { tail -30 "$work/libsodium.log" >&2; exit 1; }

rm -rf "$work"
echo "$recipe" >"$deps/done"
