#!/usr/bin/env bash
# Makes the Debian package of dist/abs: dist/abs_VERSION_amd64.deb. Called by make.
#   scripts/deb.sh [VERSION [FOLDER]]   VERSION: that of package.json; FOLDER: dist
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:-$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)}
folder=${2:-dist}
abs=dist/abs
umask 022

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# The date of the sources, so that the same sources give the same package.
date=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH=$date

put() { install -D -m "$1" "$2" "$root/$3"; }
put 755 "$abs" usr/bin/abs
for role in agent manager; do
  put 644 "contrib/systemd/abs-$role.service" "lib/systemd/system/abs-$role.service"
  put 644 "contrib/default/abs-$role" "etc/default/abs-$role"
done
put 644 contrib/wireshark/abs.lua usr/lib/x86_64-linux-gnu/wireshark/plugins/abs.lua
"$abs" man --dir "$root/usr/share/man/man1" 2>/dev/null
gzip -9n "$root"/usr/share/man/man1/*.1
shells=$root/usr/share
mkdir -p "$shells"/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
"$abs" completion bash >"$shells/bash-completion/completions/abs"
"$abs" completion zsh >"$shells/zsh/vendor-completions/_abs"
"$abs" completion fish >"$shells/fish/vendor_completions.d/abs.fish"

doc=$root/usr/share/doc/abs
put 644 contrib/deb/copyright usr/share/doc/abs/copyright
put 644 README.md usr/share/doc/abs/README.md
find examples -type f | while read -r file; do put 644 "$file" "usr/share/doc/abs/$file"; done
sed -e "s/@VERSION@/$version/" -e "s/@DATE@/$(date -uR -d "@$date")/" contrib/deb/changelog |
  gzip -9n >"$doc/changelog.gz"
put 644 contrib/deb/lintian-overrides usr/share/lintian/overrides/abs

mkdir "$root/DEBIAN"
for script in postinst prerm postrm; do put 755 "contrib/deb/$script" "DEBIAN/$script"; done
(cd "$root" && find etc -type f -printf '/%p\n' | sort >DEBIAN/conffiles)
(cd "$root" &&
  find usr lib -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
size=$(du -sk --exclude=DEBIAN "$root" | cut -f 1)
sed -e "s/@VERSION@/$version/" -e "s/@SIZE@/$size/" contrib/deb/control >"$root/DEBIAN/control"

mkdir -p "$folder"
package=$folder/abs_${version}_amd64.deb
dpkg-deb --root-owner-group -Zxz -z1 --build "$root" "$package" >/dev/null
echo "$package"
