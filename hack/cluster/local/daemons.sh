# Start, find and stop the daemons of the cluster. Sourced.
#
# A daemon is found by its argv[0], $BIN/NAME, which is unique on the machine. No pid file can be stale, and a process of
# an interrupted `up` is found as well.

DAEMONS=(etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy)

# daemon NAME CONFIG ARGUMENT...: run it unless it already runs with the same program, CONFIG and arguments.
# The control plane has a higher priority than the pods: with both cores busy a create request took a second. containerd
# does not, since its pods would inherit it.
daemon() {
    local name=$1 config=$2 stamp niceness=0
    shift 2
    [[ $name != etcd && $name != kube-* ]] || niceness=-10
    stamp=$({ readlink "$BIN/$name"; cat "$config"; echo "$@"; } | sha256sum)
    if [[ -n $(pid_of "$name") ]]; then
        [[ $(cat "$RUN/$name.started-from" 2>/dev/null) != "$stamp" ]] || return 0
        log "restarting $name: its program, configuration or arguments changed"
        stop_daemon "$name"
    fi
    rotate_log "$LOG/$name.log"
    # 9 is the lock, which the daemon must not inherit.
    setsid nice -n "$niceness" "$BIN/$name" "$@" >>"$LOG/$name.log" 2>&1 </dev/null 9>&- &
    until [[ -n $(pid_of "$name") ]] || ! kill -0 $! 2>/dev/null; do sleep 0.05; done # until setsid has started NAME
    # With autogroup the niceness of the group counts (man 7 sched).
    echo "$niceness" 2>/dev/null >"/proc/$(pid_of "$name")/autogroup" || true
    echo "$stamp" >"$RUN/$name.started-from"
}

pid_of() {
    local process argv0
    for process in /proc/[0-9]*; do
        argv0=
        IFS= read -r -d '' argv0 2>/dev/null <"$process/cmdline" || continue
        if [[ $argv0 == "$BIN/$1" ]]; then
            echo "${process#/proc/}"
            return
        fi
    done
}

stop_daemon() {
    local pid
    pid=$(pid_of "$1")
    [[ -n $pid ]] || return 0
    kill "$pid" 2>/dev/null || return 0
    gone_within 10 "$pid" || { kill -KILL "$pid" 2>/dev/null && gone_within 5 "$pid"; } || fail "$1 ($pid) does not stop"
}

# gone_within SECONDS PID: a zombie counts as gone.
gone_within() {
    local deadline=$((SECONDS + $1)) stat
    while read -r stat 2>/dev/null <"/proc/$2/stat"; do
        [[ ${stat##*) } != Z* ]] || return 0
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# wait_for SECONDS DAEMON WHAT COMMAND...: until COMMAND succeeds; on a timeout report WHAT and the log of DAEMON.
wait_for() {
    local deadline=$((SECONDS + $1)) name=$2 what=$3
    shift 3
    until "$@" >/dev/null 2>&1; do
        [[ -n $(pid_of "$name") ]] || fail_with_log "$name" "$name exited before $what"
        ((SECONDS < deadline)) || fail_with_log "$name" "timed out waiting for $what"
        sleep 0.1
    done
}

fail_with_log() {
    local log=$LOG/$1.log
    shift
    log "$*; the last lines of $log:" >&2
    tail -n 15 "$log" >&2 || true
    exit 1
}

# The logs of the previous cluster.
remove_old_logs() {
    local name
    rm -rf "$LOG/pods" "$LOG"/audit*.log "$LOG/addons.log"
    for name in "${DAEMONS[@]}"; do rm -f "$LOG/$name.log" "$LOG/$name.log.1"; done
}

rotate_log() {
    [[ ! -f $1 ]] || (($(stat -c %s "$1") < 50000000)) || mv "$1" "$1.1"
}
