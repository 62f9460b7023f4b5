#!/usr/bin/env bash
# boot.sh - boot a REAL systemd as PID 1 of a throw-away namespace container.
# Needs: root, Linux >= 5.14 (cgroup.kill), overlayfs, a mountable cgroup2, util-linux, systemd (the host's
# package or a debootstrapped tree). Not needed: docker, nspawn, network, a host booted with systemd.
# Nothing on the host's disk changes: / is an overlay whose upper layer is a tmpfs.
#
#   boot.sh check                          exit 0 if this machine can do it, 77 + reason if not
#   boot.sh up   NAME [options]            boot; returns when systemd is up; prints how to get in
#       --base DIR           root tree used read-only as overlay lower layer (default /, the host itself)
#       --layer DIR          extra lower layer on top of base (repeatable), e.g. an unpacked newer systemd
#       --net private|host   own network namespace with lo up (default), or the caller's
#       --unit FILE          install FILE into /etc/systemd/system (repeatable; .socket, NAME@.service too)
#       --dropin UNIT FILE   install FILE as UNIT.d/<basename of FILE>
#       --start UNIT         systemctl start UNIT after boot (repeatable)
#       --bind SRC[:DST]     bind-mount read-write (repeatable);  --bind-ro SRC[:DST]  read-only
#       --die-with PID       tear down by itself when process PID ends (use $$ / os.getpid())
#       --keep-root-mode     leave the mode of the root home alone (by default 0711 inside, so that an interpreter below it can be reached)
#   boot.sh exec NAME CMD [ARG...]         run CMD inside (all namespaces, clean environment)
#   boot.sh pid  NAME                      host pid of the container's PID 1
#   boot.sh pid1log NAME                   what came out before/beside the journal
#   boot.sh down NAME                      orderly shutdown, SIGKILL after 10 s; cgroups + state removed
#   boot.sh run  NAME [options] -- CMD...  up + exec + down; exit status of CMD
set -u
STATE_BASE=${BLZ_SD_STATE:-/run/blz-sd}
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
SELF=$(readlink -f "${BASH_SOURCE[0]}")
die() { echo "boot.sh: $*" >&2; exit 1; }
skip() { echo "boot.sh: cannot run here: $*" >&2; exit 77; }

cg2_mount() { # prints a cgroup2 mount point (mounts one below STATE_BASE if the host has none)
    local m
    m=$(findmnt -n -t cgroup2 -o TARGET 2>/dev/null | head -1)
    if [ -z "$m" ]; then
        m=$STATE_BASE/.cgroup2; mkdir -p "$m"
        mount -t cgroup2 cgroup2 "$m" 2>/dev/null || return 1
    fi
    echo "$m"
}

need() {
    [ "$(id -u)" = 0 ] || skip "not root"
    local t m; for t in unshare nsenter pivot_root mount findmnt setpriv; do
        command -v $t >/dev/null || skip "no $t (apt-get install util-linux mount)"; done
    grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || skip "no overlayfs"
    grep -qw cgroup2 /proc/filesystems || skip "no cgroup2"
    m=$(cg2_mount) || skip "cannot mount cgroup2"
    mkdir "$m/blz-probe.$$" 2>/dev/null && rmdir "$m/blz-probe.$$" || skip "cannot create a cgroup in $m"
    unshare --pid --mount --uts --ipc --cgroup --net --fork true 2>/dev/null || skip "namespaces refused"
}

# ------------------------------------------------- stage 2: pid 1 of the new namespaces, becomes systemd
bind_one() { # ROOT SRC:DST ro|rw
    local r=$1 src=${2%%:*} dst=${2#*:}
    [ -e "$src" ] || { echo "no such bind source: $src" >&2; exit 1; }
    if [ -d "$src" ]; then mkdir -p "$r$dst"; else mkdir -p "$r$(dirname "$dst")"; [ -e "$r$dst" ] || : > "$r$dst"; fi
    mount --bind "$src" "$r$dst"
    [ "$3" = rw ] || mount -o remount,bind,ro "$r$dst"
}

stage2() { # NAME BASE NET ; environment: BINDS BINDS_RO LAYERS KEEPROOT
    local name=$1 base=$2 net=$3 st=$STATE_BASE/$1 m r d u b i low="" L n=0
    set -e
    for i in $(seq 250); do [ -e "$st/go" ] && break; sleep 0.02; done   # parent is out of our cgroup now
    m=$st/m; mkdir -p "$m"
    mount -t tmpfs -o mode=0755,size=1g "blz-$name" "$m"
    mkdir "$m"/{upper,work,root}; r=$m/root
    # a layer that lies below $base would overlap it (ELOOP), so each is copied to the tmpfs first
    while IFS= read -r L; do [ -n "$L" ] || continue
        n=$((n+1)); cp -a "$L" "$m/l$n"; low=$low$m/l$n:; done <<< "${LAYERS:-}"
    mount -t overlay overlay -o "lowerdir=$low$base,upperdir=$m/upper,workdir=$m/work" "$r"

    # --- API file systems, as systemd's container interface wants them
    mount -t proc -o nosuid,noexec,nodev proc "$r/proc"
    mount --bind "$r/proc/sys" "$r/proc/sys"; mount -o remount,bind,ro "$r/proc/sys"   # host sysctls stay
    if [ "$net" != host ]; then mount --bind "$r/proc/sys/net" "$r/proc/sys/net"; mount -o remount,bind,rw "$r/proc/sys/net"; fi
    : > "$m/empty"; mount --bind "$m/empty" "$r/proc/sysrq-trigger" 2>/dev/null || true
    mount -t sysfs -o ro,nosuid,noexec,nodev sysfs "$r/sys"
    mount -t cgroup2 -o nosuid,noexec,nodev cgroup2 "$r/sys/fs/cgroup"                 # = our own sub-tree
    mount -t tmpfs -o nosuid,strictatime,mode=0755,size=64m tmpfs "$r/dev"
    for d in null zero full random urandom tty; do : > "$r/dev/$d"; mount --bind "/dev/$d" "$r/dev/$d"; done
    mkdir -m 1777 "$r/dev/shm" "$r/dev/mqueue"; mkdir -m 755 "$r/dev/pts"
    mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$r/dev/shm"
    mount -t devpts -o newinstance,nosuid,noexec,ptmxmode=0666,mode=0620,gid=5 devpts "$r/dev/pts"
    ln -s pts/ptmx "$r/dev/ptmx"; ln -s /proc/self/fd "$r/dev/fd"
    ln -s /proc/self/fd/0 "$r/dev/stdin"; ln -s /proc/self/fd/1 "$r/dev/stdout"; ln -s /proc/self/fd/2 "$r/dev/stderr"
    mount -t tmpfs -o nosuid,nodev,mode=0755,size=256m tmpfs "$r/run"
    mount -t tmpfs -o nosuid,nodev,mode=1777,size=1g tmpfs "$r/tmp"

    # --- a quiet, minimal /etc: nothing of what the host has enabled is started
    rm -rf "$r/etc/systemd/system" "$r/etc/systemd/system.conf.d"
    mkdir -p "$r/etc/systemd/system" "$r/etc/systemd/journald.conf.d" "$r/etc/systemd/system.conf.d"
    : > "$r/etc/fstab"; echo "$name" > "$r/etc/hostname"; hostname "$name" 2>/dev/null || echo "$name" > /proc/sys/kernel/hostname || true
    rm -f "$r/etc/machine-id"; tr -d - < /proc/sys/kernel/random/uuid > "$r/etc/machine-id"
    printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\nAudit=no\nForwardToSyslog=no\n' > "$r/etc/systemd/journald.conf.d/blz.conf"
    printf '[Manager]\nDefaultTimeoutStopSec=10s\nDefaultTimeoutStartSec=30s\nShowStatus=no\nMinimumUptimeSec=0\n' > "$r/etc/systemd/system.conf.d/blz.conf"
    printf '[Unit]\nDescription=throw-away test container\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n' > "$r/etc/systemd/system/blz.target"
    ln -sf blz.target "$r/etc/systemd/system/default.target"
    for u in dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
        sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount \
        systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udevd-varlink.socket \
        systemd-udev-trigger.service systemd-udev-load-credentials.service systemd-hwdb-update.service kmod-static-nodes.service \
        systemd-modules-load.service systemd-sysctl.service systemd-binfmt.service systemd-pstore.service \
        systemd-random-seed.service systemd-boot-random-seed.service systemd-timesyncd.service \
        systemd-logind.service systemd-logind-varlink.socket systemd-update-utmp.service \
        systemd-firstboot.service systemd-remount-fs.service systemd-machine-id-commit.service systemd-sysusers.service \
        systemd-journald-audit.socket systemd-journal-flush.service systemd-journal-catalog-update.service \
        systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-tpm2-setup.service systemd-tpm2-setup-early.service \
        systemd-tmpfiles-clean.timer systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup-dev-early.service \
        systemd-ask-password-console.path systemd-ask-password-wall.path systemd-initctl.socket e2scrub_reap.service \
        systemd-resolved.service systemd-networkd.service systemd-networkd.socket systemd-network-generator.service \
        ldconfig.service; do ln -sf /dev/null "$r/etc/systemd/system/$u"; done
    cp -rT "$st/units" "$r/etc/systemd/system"
    [ -n "${KEEPROOT:-}" ] || chmod 0711 "$r/root"        # DynamicUser= may traverse, not list

    # --- binds: for live, writable access to host paths, and for everything when --base is another tree
    while IFS= read -r b; do [ -z "$b" ] || bind_one "$r" "$b" rw; done <<< "${BINDS:-}"
    while IFS= read -r b; do [ -z "$b" ] || bind_one "$r" "$b" ro; done <<< "${BINDS_RO:-}"

    [ "$net" = host ] || ip link set lo up 2>/dev/null || true           # (systemd would do it as well)
    mkdir -p "$r/run/blz-old"; cd "$r"; pivot_root . run/blz-old; cd /
    umount -l /run/blz-old; rmdir /run/blz-old
    mount --make-rshared /                                # else LoadCredential= is invisible to services (252-257)
    local sd=/lib/systemd/systemd; [ -x $sd ] || sd=/usr/lib/systemd/systemd
    # what nspawn would also take away: kernel modules, clock, raw i/o, kernel log
    exec setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio,-syslog \
        env -i container=blz PATH="$PATH" LANG=C.UTF-8 TERM=dumb \
        "$sd" --system --unit=blz.target --show-status=no --log-level=info --log-target=journal-or-kmsg
}

# ------------------------------------------------- commands
leader() { cat "$STATE_BASE/$1/leader" 2>/dev/null; }
alive() { [ -n "${1:-}" ] && [ -n "$(readlink "/proc/$1/ns/mnt" 2>/dev/null)" ]; }      # false for a zombie, too
is_ours() { alive "$2" && [ "$(cat "/proc/$2/comm" 2>/dev/null)" = systemd ] && grep -q "/blz-$1/" "/proc/$2/cgroup"; }

enter() { # NAME CMD...
    local name=$1 p cg; shift
    p=$(leader "$name"); alive "$p" || die "container $name is not running"
    cg=$(cat "$STATE_BASE/$name/cgroup")
    ( mkdir -p "$cg/exec"; echo $BASHPID > "$cg/exec/cgroup.procs"      # so that down's cgroup.kill reaches it
      exec nsenter -t "$p" -m -u -i -n -p -C env -i PATH="$PATH" LANG=C.UTF-8 TERM="${TERM:-dumb}" \
          HOME=/root container=blz SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 "$@" )
}

up() {
    local name=$1; shift
    local base=/ net=private binds="" binds_ro="" layers="" keep="" diewith="" starts=() st=$STATE_BASE/$name f
    [[ $name =~ ^[a-z][a-z0-9-]{0,40}$ ]] || die "bad name: $name"
    need
    if [ -e "$st" ]; then
        is_ours "$name" "$(leader "$name")" && die "$name is running already"
        down "$name"                                     # left over from a killed caller
    fi
    mkdir -p "$st/units"
    while [ $# -gt 0 ]; do case $1 in
        --base) base=$(readlink -f "$2") || die "no $2"; shift 2;;
        --layer) layers+=$(readlink -f "$2")$'\n'; shift 2;;
        --net) net=$2; shift 2;;
        --unit) cp "$2" "$st/units/" || { rm -rf "$st"; die "no unit file $2"; }; shift 2;;
        --dropin) mkdir -p "$st/units/$2.d"; cp "$3" "$st/units/$2.d/" || { rm -rf "$st"; die "no drop-in $3"; }; shift 3;;
        --start) starts+=("$2"); shift 2;;
        --bind) f=$2; [[ $f == *:* ]] || f=$f:$f; binds+=$f$'\n'; shift 2;;
        --bind-ro) f=$2; [[ $f == *:* ]] || f=$f:$f; binds_ro+=$f$'\n'; shift 2;;
        --die-with) diewith=$2; shift 2;;
        --keep-root-mode) keep=1; shift;;
        *) rm -rf "$st"; die "unknown option $1";;
    esac; done
    [ -x "$base/lib/systemd/systemd" ] || [ -x "$base/usr/lib/systemd/systemd" ] || { rm -rf "$st"; skip "no systemd in $base"; }
    local cg c; cg=$(cg2_mount)/blz-$name
    mkdir -p "$cg/payload" "$cg/supervisor" "$cg/exec" || { rm -rf "$st"; die "cannot create cgroup $cg"; }
    echo "$cg" > "$st/cgroup"
    for c in $(cat "$cg/cgroup.controllers" 2>/dev/null); do echo "+$c" > "$cg/cgroup.subtree_control" 2>/dev/null; done
    local nsnet=--net; [ "$net" = host ] && nsnet=--pid
    BINDS=$binds BINDS_RO=$binds_ro LAYERS=$layers KEEPROOT=$keep setsid bash -c '
        echo $$ > "$1/payload/cgroup.procs" || exit 1
        exec unshare --pid --mount --uts --ipc --cgroup "$2" --propagation private --fork --kill-child=SIGKILL \
            bash "$3" __stage2 "$4" "$5" "$6"' _ "$cg" "$nsnet" "$SELF" "$name" "$base" "$net" \
        < /dev/null > "$st/console.log" 2>&1 &
    local up_pid=$! i p="" s=""
    disown $up_pid 2>/dev/null
    echo $up_pid > "$st/unshare"
    for i in $(seq 500); do
        p=$(awk '{print $1}' "/proc/$up_pid/task/$up_pid/children" 2>/dev/null)
        if [ -n "$p" ] && [ ! -e "$st/go" ] && [ "$(cat "/proc/$up_pid/comm" 2>/dev/null)" = unshare ]; then
            echo $up_pid > "$cg/supervisor/cgroup.procs"; : > "$st/go"     # cgroup v2: no processes in inner nodes
        fi
        [ -n "$p" ] && [ "$(cat "/proc/$p/comm" 2>/dev/null)" = systemd ] && break
        alive $up_pid || { cat "$st/console.log" >&2; down "$name"; die "boot failed"; }
        sleep 0.02
    done
    [ -n "$p" ] && [ "$(cat "/proc/$p/comm" 2>/dev/null)" = systemd ] || { cat "$st/console.log" >&2; down "$name"; die "no PID 1 after 10 s"; }
    echo "$p" > "$st/leader"
    for i in $(seq 300); do
        s=$(enter "$name" systemctl is-system-running 2>/dev/null)
        case $s in running|degraded) break;; esac
        alive "$p" || { cat "$st/console.log" >&2; down "$name"; die "systemd died"; }
        sleep 0.03
    done
    case $s in running|degraded) ;; *) cat "$st/console.log" >&2; enter "$name" systemctl list-jobs >&2; down "$name"; die "not up in time: $s";; esac
    if [ -n "$diewith" ]; then
        ( cd /; exec setsid bash -c 'while kill -0 "$1" 2>/dev/null && [ -d "/proc/$4" ]; do sleep 0.5; done
              [ "$(cat "$5/leader" 2>/dev/null)" = "$4" ] && exec bash "$2" down "$3"' _ "$diewith" "$SELF" "$name" "$p" "$st" ) </dev/null >/dev/null 2>&1 &
        disown $! 2>/dev/null
    fi
    local rc=0
    for f in "${starts[@]:+${starts[@]}}"; do enter "$name" systemctl start "$f" || rc=$?; done
    [ -n "${BLZ_QUIET:-}" ] || cat <<EOT
container $name: systemd is $s, PID 1 = host pid $p, cgroup $cg
  systemctl:  $SELF exec $name systemctl status
  journal:    $SELF exec $name journalctl -u UNIT -o cat
  network:    $( [ "$net" = host ] && echo "shared with the caller" || echo "own; run the client inside, or: nsenter -t $p -n CMD" )
  stop:       $SELF down $name
EOT
    return $rc
}

down() {
    local name=$1 st=$STATE_BASE/$1 p cg i
    [ -d "$st" ] || return 0
    p=$(leader "$name"); cg=$(cat "$st/cgroup" 2>/dev/null)
    if is_ours "$name" "$p"; then
        kill -s RTMIN+4 "$p" 2>/dev/null                  # start poweroff.target: units are stopped in order
        for i in $(seq 200); do alive "$p" || break; sleep 0.05; done
        alive "$p" && kill -KILL "$p" 2>/dev/null
    fi
    case $cg in */blz-"$name") if [ -d "$cg" ]; then
        [ -e "$cg/cgroup.kill" ] && echo 1 > "$cg/cgroup.kill" 2>/dev/null
        for i in $(seq 100); do
            [ -z "$(find "$cg" -name cgroup.procs -exec cat {} + 2>/dev/null)" ] && break; sleep 0.02; done
        find "$cg" -depth -type d -exec rmdir {} \; 2>/dev/null
    fi;; esac
    mountpoint -q "$st/m" 2>/dev/null && umount -l "$st/m"
    rm -rf --one-file-system "$st"
    if [ -d "$STATE_BASE/.cgroup2" ] && [ -z "$(ls "$STATE_BASE")" ]; then umount "$STATE_BASE/.cgroup2" 2>/dev/null; rmdir "$STATE_BASE/.cgroup2"; fi
    rmdir "$STATE_BASE" 2>/dev/null
    return 0
}

cmd=${1:-}; shift || true
case $cmd in
    check) need; [ -x /lib/systemd/systemd ] || skip "no systemd package"
           echo "ok: kernel $(uname -r), $(/lib/systemd/systemd --version 2>/dev/null | head -1)";;
    up) [ $# -ge 1 ] || die "up NAME [options]"; up "$@";;
    exec) [ $# -ge 2 ] || die "exec NAME CMD"; enter "$@";;
    pid) leader "$1";;
    pid1log) cat "$STATE_BASE/$1/console.log";;
    down) [ $# -ge 1 ] || die "down NAME"; down "$1";;
    run) name=$1; shift; opts=(); while [ $# -gt 0 ] && [ "$1" != -- ]; do opts+=("$1"); shift; done; shift || true
         trap 'down "$name"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM
         BLZ_QUIET=1 up "$name" "${opts[@]:+${opts[@]}}" || exit $?; enter "$name" "$@"; exit $?;;
    __stage2) stage2 "$@";;
    *) sed -n '2,27p' "$SELF"; exit 2;;
esac
