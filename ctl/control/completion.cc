#include "ctl/control/completion.h"

#include "absl/strings/str_cat.h"
#include "ctl/control/command_grammar.h"
#include "ctl/control/command_help.h"

namespace holdfast {
namespace {

// A line each, quoted for either shell: a command, '#' and the options that may
// stand where its last argument stands.  No word of them has a quote in it.
std::string Table() {
  std::string table;
  for (const absl::string_view line : CommandLines()) {
    const CommandHelp* help = FindCommandHelp(line);
    absl::StrAppend(&table, "    '", line, "#",
                    help == nullptr ? "" : help->options, "'\n");
  }
  return table;
}

// Prints what may stand for the token $1 of a command: ids and numbers are
// asked for, the first 500 of them.
constexpr absl::string_view kValues = R"sh(
_smtpctl_values() {
  case $1 in
    '<evpid>') command smtpctl "${@:3}" show queue 2>/dev/null |
      head -n 500 | cut -d '|' -f 1 ;;
    '<msgid>') command smtpctl "${@:3}" show queue 2>/dev/null |
      head -n 500 | cut -c 1-8 | uniq ;;
    '<routeid>') command smtpctl "${@:3}" show routes 2>/dev/null |
      cut -d . -f 1 ;;
    '<imsg|queue>') printf '%s\n' imsg queue ;;
    '<subsystem>') printf '%s\n' imsg io smtp filters mta bounce \
      scheduler lookup stat rules mproc expand all ;;
    '<filter>...'|'<from'*) printf '%s\n' "$2" | tr ' ' '\n' ;;
    '<'*) ;;
    *) printf '%s\n' "$1" ;;
  esac
}
)sh";

constexpr absl::string_view kBash = R"sh(
_smtpctl() {
  local -a words=("${COMP_WORDS[@]:1:COMP_CWORD-1}") spool=() tokens
  local current=${COMP_WORDS[COMP_CWORD]} entry i token fits found=
  COMPREPLY=()
  if [[ ${words[0]} == --spool ]]; then
    # `--spool=PATH` is three words here.
    [[ ${words[1]} == = ]] && words=(--spool "${words[@]:2}")
    if ((${#words[@]} < 2)); then
      mapfile -t COMPREPLY < <(compgen -d -- "${current#=}")
      return
    fi
    spool=(--spool "${words[1]}")
    words=("${words[@]:2}")
  fi
  [[ ${words[0]} == help ]] && words=("${words[@]:1}")
  for entry in "${_smtpctl_commands[@]}"; do
    read -r -a tokens <<<"${entry%%#*}"
    fits=1
    for ((i = 0; i < ${#words[@]} && fits; i++)); do
      token=${tokens[i]}
      if [[ $token == *'>...' ]]; then
        break
      elif [[ $token == '<'* ]]; then
        [[ -n ${words[i]} ]] || fits=0
      elif [[ -z $token || $token != "${words[i]}"* ]]; then
        fits=0
      fi
      ((fits)) || break
    done
    ((fits)) || continue
    # Past a "..." its options are offered again.
    ((i < ${#words[@]})) || token=${tokens[i]}
    [[ -n $token ]] || continue
    case $found in *"
$token#${entry#*#}
"*) continue ;; esac
    found+="
$token#${entry#*#}
"
    mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(
      compgen -W "$(_smtpctl_values "$token" "${entry#*#}" "${spool[@]}")" \
        -- "$current")
  done
}
complete -F _smtpctl smtpctl
)sh";

constexpr absl::string_view kZsh = R"sh(
_smtpctl() {
  emulate -L zsh
  local -a typed spool tokens values
  local entry token option i fits
  typed=("${(@)words[2,CURRENT-1]}")
  if [[ $typed[1] == --spool=* ]]; then
    spool=(--spool "${typed[1]#--spool=}")
    shift typed
  elif [[ $typed[1] == --spool ]]; then
    if (( $#typed < 2 )); then
      _files -/
      return
    fi
    spool=(--spool "$typed[2]")
    shift 2 typed
  fi
  [[ $typed[1] == help ]] && shift typed
  for entry in $_smtpctl_commands; do
    tokens=(${=entry%%\#*})
    option=${entry#*\#}
    fits=1
    for (( i = 1; i <= $#typed; i++ )); do
      token=$tokens[i]
      if [[ $token == *'>...' ]]; then
        break
      elif [[ $token == '<'* ]]; then
        [[ -n $typed[i] ]] || fits=0
      elif [[ -z $token || $token != "$typed[i]"* ]]; then
        fits=0
      fi
      (( fits )) || break
    done
    (( fits )) || continue
    (( i <= $#typed )) || token=$tokens[i]
    [[ -n $token ]] || continue
    values+=(${(f)"$(_smtpctl_values "$token" "$option" $spool)"})
  done
  values=(${(u)values})
  compadd -a values
}
if [[ $funcstack[1] == _smtpctl ]]; then
  _smtpctl
else
  compdef _smtpctl smtpctl
fi
)sh";

}  // namespace

std::string BashCompletion() {
  return absl::StrCat("# bash completion of smtpctl\n_smtpctl_commands=(\n",
                      Table(), ")\n", kValues, kBash);
}

std::string ZshCompletion() {
  return absl::StrCat("#compdef smtpctl\ntypeset -ga _smtpctl_commands\n",
                      "_smtpctl_commands=(\n", Table(), ")\n", kValues, kZsh);
}

}  // namespace holdfast
