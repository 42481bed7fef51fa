# The setting mount_root of dacc.
ROOT=@@{mount_root}
# All must end within 20 s: so many for the work, 2 more until what ignores SIGTERM is killed, 2 to say so.
SECONDS_AT_MOST=16

# slurmd sets no search path.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
set -f
trap '' PIPE

job=${SLURM_JOB_ID:-}
case $job in
    '' | *[!0-9]*) exit 0 ;;
esac

# Whoever runs this may throw its output away, so the system's log gets it too.
say() {
    line=$(printf '@@{script}: job %s: %s' "$job" "$1" | tr -cd '[:print:]')
    printf 'dacc %s\n' "$line" >&2
    command -v logger >/dev/null && timeout 2 logger -t dacc -p daemon.warning -- "$line" 2>/dev/null
    return 0
}

# Set `enter` to a command for the mounts of slurmd, if they are not ours. With job_container/tmpfs, slurmd runs this in the
# job's own mount namespace while there is one (container_g_join in run_script.c; not seen in 22.05.8). Its mounts go with
# the job; what must go is slurmd's.
find_namespace() {
    enter=
    slurmd=$PPID
    while [ "${slurmd:-0}" -gt 1 ] && { read -r name <"/proc/$slurmd/comm"; } 2>/dev/null; do
        if [ "$name" = slurmd ]; then
            [ "$(readlink "/proc/$slurmd/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ] || enter="nsenter --mount=/proc/$slurmd/ns/mnt"
            return
        fi
        slurmd=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$slurmd/status")
    done
}

# A program that touches a dead filesystem may not even die of SIGKILL. So the work is done by another process, which can
# be left behind, and this one says so and ends with success: anything else would drain the node.
if [ "${1:-}" != work ]; then
    find_namespace
    # shellcheck disable=SC2086 # two words or none
    timeout -k 2 "$SECONDS_AT_MOST" $enter /bin/sh "$0" work </dev/null
    status=$?
    [ "$status" = 0 ] || say "it was not done within $SECONDS_AT_MOST s, or not at all (status $status)"
    exit 0
fi

# The kernel shows paths as they really are.
root=$(cd -P -- "$ROOT" 2>/dev/null && pwd -P) || exit 0
root=${root%/}

# Set `path` to what the kernel has escaped: \ooo for blanks, line ends and backslashes.
decode() {
    path=$1
    case $path in
        *\\*)
            path=$(printf '%s' "$path" | sed 's/\\/\\0/g')
            path=$(printf '%b.' "$path")
            path=${path%.}
            ;;
    esac
}

# Set `points` to the mount points, escaped, that a grep pattern finds; the last mounted first.
find_mounts() {
    points=
    while read -r _ _ _ _ point _; do
        [ -z "$point" ] || points="$point $points"
    done <<END
$(grep -E -e "$1" /proc/self/mountinfo)
END
}
