# Completes `trainer …` and `python -m trainer …` in fish: passes the line up to the cursor to the program.
function __trainer_complete
    set -l line (commandline -cp)
    set -l program (commandline -cpo)[1]
    if string match -q '* -m trainer *' -- $line
        set line (string replace -r '^.*? -m trainer ' 'trainer ' -- $line)
        set program $program -m trainer
    end
    set -l candidates (env COMP_LINE="$line" $program --shell-completion query=fish 2>/dev/null)
    if test (count $candidates) -gt 0
        printf '%s\n' $candidates
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c trainer -f -a '(__trainer_complete)'
for name in python python3
    complete -c $name -n "string match -q '* -m trainer *' -- (commandline -cp)" -f -a '(__trainer_complete)'
end
