# Start, find and stop the cluster's daemons. Sourced.
#
# A daemon is found by its argv[0], $BIN/NAME, which nothing else on the machine has: there are no pid files
# to go stale, and a process started by an earlier, interrupted `up` is found as well.

DAEMONS=(etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy)

# daemon NAME CONFIG ARGUMENT...: run it unless it runs already from the same program, CONFIG and arguments.
# The control plane goes before the pods, as on machines of its own: with both cores busy a create took it a second.
# Not containerd, whose pods would inherit it.
daemon() {
    local name=$1 config=$2 stamp niceness=0
    shift 2
    [[ $name != etcd && $name != kube-* ]] || niceness=-10
    stamp=$({ readlink "$BIN/$name"; cat "$config"; echo "$@"; } | sha256sum)
    if [[ -n $(pid_of "$name") ]]; then
        [[ $(cat "$RUN/$name.started-from" 2>/dev/null) != "$stamp" ]] || return 0
        say "restarting $name: it was started from other inputs"
        stop_daemon "$name"
    fi
    keep_log_short "$LOG/$name.log"
    # 9 is the lock that only this command may hold.
    setsid nice -n "$niceness" "$BIN/$name" "$@" >>"$LOG/$name.log" 2>&1 </dev/null 9>&- &
    until [[ -n $(pid_of "$name") ]] || ! kill -0 $! 2>/dev/null; do sleep 0.05; done # till setsid became NAME
    # Of a session that is a group for the scheduler, the group's niceness counts (man 7 sched, autogroup).
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
    gone_within 10 "$pid" || { kill -KILL "$pid" 2>/dev/null && gone_within 5 "$pid"; } || fail "$1 ($pid) does not end"
}

# gone_within SECONDS PID; a process that has ended and was not yet collected by its parent is gone.
gone_within() {
    local deadline=$((SECONDS + $1)) stat
    while read -r stat 2>/dev/null <"/proc/$2/stat"; do
        [[ ${stat##*) } != Z* ]] || return 0
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# wait_for SECONDS DAEMON WHAT COMMAND...: until COMMAND succeeds; says WHAT did not come about, and why.
wait_for() {
    local deadline=$((SECONDS + $1)) name=$2 what=$3
    shift 3
    until "$@" >/dev/null 2>&1; do
        [[ -n $(pid_of "$name") ]] || fail_with_log "$name" "$name ended before $what"
        ((SECONDS < deadline)) || fail_with_log "$name" "$what did not come about in time"
        sleep 0.1
    done
}

fail_with_log() {
    local log=$LOG/$1.log
    shift
    say "$*; the last lines of $log:" >&2
    tail -n 15 "$log" >&2 || true
    exit 1
}

# Those of the cluster before this one, which were kept to be read.
remove_old_logs() {
    local name
    rm -rf "$LOG/pods" "$LOG"/audit*.log "$LOG/addons.log"
    for name in "${DAEMONS[@]}"; do rm -f "$LOG/$name.log" "$LOG/$name.log.1"; done
}

keep_log_short() {
    [[ ! -f $1 ]] || (($(stat -c %s "$1") < 50000000)) || mv "$1" "$1.1"
}
