# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# become_init.sh COMMON STAMP-FILE HOSTNAME INIT: the first process of a node's namespaces, while /proc is still the
# machine's, so that the pid in the stamp is the machine's too. It ends by becoming INIT.

set -eu
# shellcheck source=/dev/null
. "$1"
cd /
read -r pid _ </proc/self/stat
process_stamp "$pid" >"$2.part"
hostname "$3"
mv "$2.part" "$2"
exec "$4"
