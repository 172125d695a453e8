// `smtpctl completion bash|zsh`: scripts that complete smtpctl's words, made of
// the table of commands.  Pure.
#ifndef HOLDFAST_CTL_CONTROL_COMPLETION_H_
#define HOLDFAST_CTL_CONTROL_COMPLETION_H_

#include <string>

namespace holdfast {

// For bash 4 or newer: defines and registers _smtpctl.
std::string BashCompletion();

// For zsh: the same, after compinit or as a file of $fpath.
std::string ZshCompletion();

}  // namespace holdfast

#endif  // HOLDFAST_CTL_CONTROL_COMPLETION_H_
