# The requirements of the local cluster, and the installation of Debian packages. Sourced.

# Measured sizes of the images: 15 GB in containerd, 8 in the builder, 7 in the layout until it links to containerd's.
DISK_NEEDED_GB=32
# Programs and their Debian packages.
declare -A PACKAGE_OF=(
    [containerd]=containerd [runc]=runc [/usr/lib/cni/bridge]=containernetworking-plugins
    [iptables]=iptables [nft]=nftables [conntrack]=conntrack [ip]=iproute2 [openssl]=openssl [cc]=gcc
    [/usr/include/stdlib.h]=libc6-dev [flock]=util-linux [mount]=mount [python3]=python3 [sysctl]=procps
)

# List everything that is missing, before anything is built or started.
check_machine() {
    local missing=() others
    [[ $(uname -s) == Linux ]] || missing+=("Linux: this is $(uname -s); use CLUSTER=kind or CLUSTER=existing")
    [[ $(id -u) -eq 0 ]] || missing+=("root: run this as root (it creates containers, networks and mounts)")
    lacks_go && missing+=("Go $(go_needed) or newer: https://go.dev/dl")
    lacks_venv && missing+=("Python 3.11 or newer with the module venv: apt-get install python3-venv")
    lacks_disk && missing+=("$DISK_NEEDED_GB GB of disk under $CACHE: $(free_gb) GB are free (FUSIONRUN_CACHE moves it)")
    others=$(other_kubernetes)
    [[ -z $others ]] || missing+=("a machine without another Kubernetes, whose network rules and pods would conflict: stop $others, or use it with CLUSTER=existing")
    if [[ -n $(missing_packages) ]] && ! command -v apt-get >/dev/null; then
        missing+=("these Debian packages: $(missing_packages)")
    fi
    fail_if_missing "this machine lacks" "${missing[@]}"
}

install_packages() {
    local packages
    packages=$(missing_packages)
    [[ -n $packages ]] || return 0
    log "installing $packages"
    mkdir -p "$LOG"
    {
        export DEBIAN_FRONTEND=noninteractive
        apt-get -o DPkg::Lock::Timeout=600 update -q || true # one package source may be unreachable
        # shellcheck disable=SC2086
        apt-get -o DPkg::Lock::Timeout=600 install -y -q --no-install-recommends $packages
    } >>"$LOG/apt.log" 2>&1 || fail "apt-get failed to install $packages: see $LOG/apt.log"
    # The Debian package starts a containerd service, which is not needed.
    if [[ " $packages " == *" containerd "* && -d /run/systemd/system ]]; then
        systemctl disable --now containerd.service >>"$LOG/apt.log" 2>&1 || true
    fi
}

# The daemons of another Kubernetes, as "NAME (PID)". One in containers, such as kind, has another network namespace and
# does not count.
other_kubernetes() {
    local process arguments network found=()
    network=$(readlink /proc/self/ns/net)
    for process in /proc/[0-9]*; do
        arguments=()
        mapfile -d '' -t arguments 2>/dev/null <"$process/cmdline" || continue
        # The first argument of k3s contains its command.
        arguments=("${arguments[0]:-}")
        arguments[0]=${arguments[0]%% *}
        case ${arguments[0]##*/} in kubelet | kube-proxy | kubelite | k3s | k3s-server | k3s-agent) ;; *) continue ;; esac
        [[ ${arguments[0]} != "$BIN"/* && $(readlink "$process/ns/net" 2>/dev/null) == "$network" ]] || continue
        found+=("${arguments[0]##*/} (${process#/proc/})")
    done
    printf '%s' "${found[*]}"
}

missing_packages() {
    local program packages=()
    for program in "${!PACKAGE_OF[@]}"; do
        if [[ $program == /* ]]; then
            [[ -e $program ]] || packages+=("${PACKAGE_OF[$program]}")
        else
            command -v "$program" >/dev/null || packages+=("${PACKAGE_OF[$program]}")
        fi
    done
    printf '%s\n' "${packages[@]}" | sort -u | xargs
}

go_needed() { awk '$1 == "go" {print $2}' "$HERE/../components/go.mod"; }

lacks_go() {
    local version
    version=$(go env GOVERSION 2>/dev/null) || return 0
    [[ $(printf '%s\n' "$(go_needed)" "${version#go}" | sort -V | head -1) != "$(go_needed)" ]]
}

# The wheel of the images and the tools of `make test` are installed in virtual environments.
lacks_venv() { ! python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

free_gb() {
    local folder=$CACHE
    until [[ -d $folder ]]; do folder=$(dirname "$folder"); done
    df --output=avail -BG "$folder" | tail -1 | tr -dc 0-9
}

# The space that the cache uses already counts as available.
lacks_disk() {
    local free used=0
    free=$(free_gb)
    ((free < DISK_NEEDED_GB)) || return 1
    [[ -d $CACHE ]] && used=$(du -sx --block-size=1G "$CACHE" | cut -f1)
    ((free + used < DISK_NEEDED_GB))
}
