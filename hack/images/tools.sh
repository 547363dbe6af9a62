# The Python tools that build the wheel and the locks, in an environment of their own. Sourced.

CACHE=${FUSIONRUN_CACHE:-$HOME/.cache/fusionrun}
TOOLS=$CACHE/images/tools

# tool NAME: print the path of a program; the environment is made at the first call.
tool() {
    if [[ ! -x $TOOLS/bin/$1 ]]; then
        python3 -m venv "$TOOLS" >&2
        "$TOOLS/bin/pip" install --quiet build==1.6.1 hatchling==1.33.0 uv==0.13.9 >&2
    fi
    echo "$TOOLS/bin/$1"
}
