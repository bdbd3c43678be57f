# Completion of cohold_inspect for bash.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
_cohold_inspect() {
    local word=${COMP_WORDS[COMP_CWORD]} command="" files="" names=""
    local each
    for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $each in
        --file | --tmpfs) files=yes ;;
        --system-v) names=none ;;
        -*) ;;
        *) command=${command:-$each} ;;
        esac
    done
    COMPREPLY=()
    if [[ $word == -* ]]; then
        local options="--posix --system-v --file --tmpfs --json --help"
        case $command in
        list) options+=" --all" ;;
        watch) options+=" --count" ;;
        remove) options+=" --stale --dry-run" ;;
        "") options+=" --version" ;;
        esac
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W "doctor list show watch check repair remove" -- "$word")
    elif [[ $files ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    elif [[ ! $names && $command =~ ^(show|watch|check|repair)$ ]]; then
        # POSIX objects are files; those of semaphores are not segments.
        mapfile -t COMPREPLY < <(cd /dev/shm 2>/dev/null && compgen -f -X 'sem.*' -- "$word")
    fi
} && complete -F _cohold_inspect cohold_inspect
