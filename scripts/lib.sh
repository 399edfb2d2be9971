# shellcheck shell=bash
# Shared by the scripts of this folder: sourced, not run. Sets -euo pipefail and changes to the project's folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '== %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "needs root or sudo for: $*"
	fi
}

build_preset() { # PRESET [OPTION OF CMAKE...]
	local preset=$1
	shift
	if command -v ccache >/dev/null; then
		set -- -DCMAKE_C_COMPILER_LAUNCHER=ccache "$@"
	fi
	cmake --preset "$preset" "$@" >/dev/null
	cmake --build --preset "$preset"
}
