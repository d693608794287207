#!/bin/sh
# The entrypoint of the image.
#
#   entrypoint flow metrics [-w 2 ...]   runs flows.metrics, with what Bytewax's runner takes after it
#   entrypoint headrace setup            runs any other command as it stands
#
# A flow that finds no recovery partitions in $BYTEWAX_RECOVERY_DIRECTORY makes them. Their number
# stays for the life of the directory; workers may become more or fewer, but only as many as there
# are partitions can write snapshots at the same time.
#
# Numba takes up compiled code only from where it could also write some, and the image is read-only:
# so what the image has in $HEADRACE_COMPILED is copied to $NUMBA_CACHE_DIR at each start.
set -eu

if [ -n "${HEADRACE_COMPILED:-}" ]; then
    mkdir -p "$NUMBA_CACHE_DIR"
    cp -R "$HEADRACE_COMPILED/." "$NUMBA_CACHE_DIR"
fi

if [ "${1:-}" != flow ]; then
    exec "$@"
fi
if [ $# -lt 2 ]; then
    echo "entrypoint: which flow? (write: flow metrics)" >&2
    exit 2
fi
name=$2
shift 2

# A module path is taken as it is; a bare name is one of Headrace's flows.
case $name in
*.*) module=$name ;;
*) module=flows.$name ;;
esac

recovery=${BYTEWAX_RECOVERY_DIRECTORY:-/var/lib/headrace/recovery}
partitions=$recovery/partitions
if [ ! -d "$partitions" ]; then
    # Under another name first: an interrupted start must not leave half of the partitions.
    making=$recovery/making
    rm -rf "$making"
    mkdir -p "$making"
    python -m bytewax.recovery "$making" "${HEADRACE_RECOVERY_PARTITIONS:-4}"
    mv "$making" "$partitions"
fi

exec python -m bytewax.run "$module" \
    --recovery-directory "$partitions" \
    --snapshot-interval "${BYTEWAX_SNAPSHOT_INTERVAL:-2}" \
    --backup-interval "${BYTEWAX_RECOVERY_BACKUP_INTERVAL:-60}" \
    "$@"
