# Completes `trainer …` and `python -m trainer …` in bash: passes the line up to the cursor to the program.
_trainer_complete() {
  local line="${COMP_LINE:0:COMP_POINT}" program=("${COMP_WORDS[0]}") word
  if [[ "${program[0]##*/}" == python* ]]; then
    [[ "$line" == *" -m trainer "* ]] || return 0
    line="trainer ${line#* -m trainer }"
    program+=(-m trainer)
  fi
  COMPREPLY=()
  # A blank ends a finished word; after = . / [ and , more is to follow. `-o nospace` leaves the choice to this loop.
  while IFS= read -r word; do
    [[ "$word" == *[[:space:]]* ]] && printf -v word %q "$word"
    [[ "$word" == *[=./,[] ]] && COMPREPLY+=("$word") || COMPREPLY+=("$word ")
  done < <(COMP_LINE="$line" "${program[@]}" --shell-completion query=bash 2>/dev/null)
  (( ${#COMPREPLY[@]} )) || compopt +o nospace 2>/dev/null || true
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _trainer_complete trainer python python3
