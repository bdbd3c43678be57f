#!/bin/sh
# Which objects exist, which processes have them, and how they are removed, in the shell.
# (sh world.sh sh visible.sh)
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
umask 022
echo "# A POSIX object is a file; here the shell has made it."
echo hello >/dev/shm/greeting
stat -c '%A %s bytes %n' /dev/shm/*

echo "# A System V segment is in a table."
ipcmk -M 4096 -p 0640 >/dev/null
ipcs -m | awk '/^0x/ { print $4, $5 " bytes, " $6 " attached" }'
awk 'NR == 2 { print "perms", $3, "size", $4, "nattch", $7 }' /proc/sysvipc/shm

echo "# Which process has it open? The name is gone."
exec 3</dev/shm/greeting
rm /dev/shm/greeting
find /proc/[0-9]*/fd -lname '/dev/shm/greeting*' -printf '%p is %l\n' 2>/dev/null |
    grep "^/proc/$$/" | sed "s,/$$/,/SELF/,"
echo "# Until the last descriptor is closed, the contents can be read back."
cat /proc/$$/fd/3
df --output=used /dev/shm | awk 'NR == 2 { print $1 " KiB used" }'
exec 3<&-
df --output=used /dev/shm | awk 'NR == 2 { print $1 " KiB used after the last close" }'

echo "# A System V segment is removed by its identifier or key."
ipcrm -m "$(ipcs -m | awk '/^0x/ { print $2 }')"
ipcs -m | awk '/^0x/ { left++ } END { print left + 0, "segments left" }'
