# Completes `trainer …` and `python -m trainer …` in zsh: passes the line up to the cursor to the program.
_trainer_complete() {
  local line="$LBUFFER"
  local -a program candidates
  program=("${words[1]}")
  if [[ "${words[1]:t}" == python* ]]; then
    if [[ "$line" != *" -m trainer "* ]]; then
      (( $+functions[_python] )) && _python || _default
      return
    fi
    line="trainer ${line#* -m trainer }"
    program+=(-m trainer)
  fi
  candidates=("${(@f)$(COMP_LINE="$line" "${program[@]}" --shell-completion query=zsh 2>/dev/null)}")
  candidates=(${candidates:#})
  if (( ! $#candidates )); then
    _default
    return
  fi
  compadd -S '' -- ${(M)candidates:#*[=./,\[]}
  compadd -- ${candidates:#*[=./,\[]}
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -D }
compdef _trainer_complete trainer python python3
