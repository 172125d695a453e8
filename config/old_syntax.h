// Lines in the syntax before OpenSMTPD 6.4, which articles and old machines
// still have, in the words of today.
#ifndef HOLDFAST_CONFIG_OLD_SYNTAX_H_
#define HOLDFAST_CONFIG_OLD_SYNTAX_H_

#include <string>
#include <vector>

namespace holdfast {

// `words`: the tokens of a line that is a syntax error, as written, quotes
// included; "<name>" is one.  The lines that should stand there instead; empty
// if nothing in it is of the older form.
std::vector<std::string> NewForm(const std::vector<std::string>& words);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_OLD_SYNTAX_H_
