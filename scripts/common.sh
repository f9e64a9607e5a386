# shellcheck shell=bash
# What the scripts of this directory share. Source it: . "$(dirname "$0")/common.sh"

set -euo pipefail
export LC_ALL=C.UTF-8 # numbers and orders are the same for everybody
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# Colours for people only.
# shellcheck disable=SC2034 # used by those who source this
if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\e[1m' plain=$'\e[0m'
else
	bold='' plain=''
fi

# seconds_since TIME: with two decimals; TIME is an earlier $EPOCHREALTIME
seconds_since() {
	awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.2f", to - from }'
}

# tracked PATTERN...: files of this checkout that git has or would take. Works on a checkout of another user, and on an
# unpacked archive without git.
tracked() {
	if [ -e "$top/.git" ] && command -v git >/dev/null; then
		git -c safe.directory="$top" -C "$top" ls-files --cached --others --exclude-standard -- "$@" |
			while IFS= read -r file; do [ ! -f "$top/$file" ] || printf '%s\n' "$file"; done
	else
		local pattern tests=()

		for pattern in "$@"; do tests+=(-o -path "./$pattern" -o -path "./*/$pattern"); done
		(cd "$top" && find . \( -name .git -o -path ./build \) -prune -o -type f \( "${tests[@]:1}" \) -print | sed 's|^\./||')
	fi
}
