#!/bin/sh
# Which control group is charged for shared memory. Needs root, and permission to create groups.
# (sh world.sh sh cgroup.sh)
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
if grep -qw memory /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null; then
    root=/sys/fs/cgroup limit=memory.max
else
    root=/sys/fs/cgroup/memory limit=memory.limit_in_bytes # version 1
fi
one=$root/cohold-example-one-$$ two=$root/cohold-example-two-$$
mkdir "$one" "$two" 2>/dev/null || exit 77
trap 'rm -f /dev/shm/*; rmdir "$one" "$two"' EXIT
[ -f "$one/$limit" ] || exit 77

in_group() { # in_group GROUP COMMAND: in a process that has ended when this returns
    sh -c 'echo $$ >"$1/cgroup.procs" && exec sh -c "$2"' group "$1" "$2"
}
show() { # in MiB, to the nearest 4: the kernel counts in batches
    printf '%-44s' "$1"
    for group in "$one" "$two"; do
        awk '$1 == "shmem" { printf " %4d", int($2 / 4194304 + 0.5) * 4 }' "$group/memory.stat"
    done
    echo
}

printf '%-44s  one  two\n' "shmem of the group, MiB"
in_group "$one" 'head -c 16M /dev/zero >/dev/shm/data'
show "a process of group one has written 16 MiB"
in_group "$two" 'cat /dev/shm/data >/dev/null'
show "one of group two has read it"
in_group "$two" 'head -c 16M /dev/zero | dd of=/dev/shm/data conv=notrunc bs=1M 2>/dev/null'
show "one of group two has overwritten it"
rm /dev/shm/data
show "it is removed"
echo 8M >"$two/$limit"
for file in "$two"/memory.swap.max "$two"/memory.swappiness; do # nor may it swap
    [ -f "$file" ] && echo 0 >"$file"
done
in_group "$two" 'head -c 16M /dev/zero >/dev/shm/data' 2>/dev/null
echo "16 MiB with a limit of 8 MiB: the writer's status is $?, that of SIGKILL"
