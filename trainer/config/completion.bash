# Completes `python -m trainer …`: asks the program itself, as if it had been called by its short name.
_trainer_module_complete() {
  local before="${COMP_LINE:0:COMP_POINT}" interpreter="${COMP_WORDS[0]}" line
  [[ "$before" == *" -m trainer "* ]] || return
  line="trainer ${before#* -m trainer }"
  COMPREPLY=($(COMP_LINE="$line" COMP_POINT=${#line} "$interpreter" -m trainer --shell-completion query=bash 2>/dev/null))
  COMPREPLY=($(compgen -W "${COMPREPLY[*]}" -- "${before##* }"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _trainer_module_complete python python3
