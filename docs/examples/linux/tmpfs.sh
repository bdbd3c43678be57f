#!/bin/sh
# A tmpfs of one's own, in the shell: full, larger, smaller, busy. (sh world.sh sh tmpfs.sh)
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
cd / || exit 1
where=$(mktemp -d /tmp/tmpfs-XXXXXX) || exit 1
trap 'umount -l "$where" 2>/dev/null; rmdir "$where"' EXIT

used() {
    df --block-size=1K --output=size,used "$where" | awk 'NR == 2 { print $2 " of " $1 " KiB" }'
}
try() { # its words, and how it goes
    said=$*
    if "$@" 2>/dev/null; then how=ok; else how=failed; fi
    echo "$said: $how" | sed "s,$where,DIR,"
}

mount -t tmpfs -o size=1m,mode=700 own "$where"
echo "mounted:            $(used)"
{ head -c 2M /dev/zero >"$where/data"; } 2>/dev/null
echo "2 MiB written:      $(used)"
try mount -o remount,size=4m own "$where"
head -c 2M /dev/zero >"$where/data"
echo "once more:          $(used)"
try mount -o remount,size=1m own "$where"
rm "$where/data"
echo "after rm:           $(used)"
try mount -o remount,size=1m own "$where"

echo hello >"$where/data"
exec 3<"$where/data"
try umount "$where"
try umount -l "$where"
try ls "$where/data"
echo "but descriptor 3:   $(cat <&3)"
