// `smtpd-keys check`: see TlsChecked.
#ifndef HOLDFAST_SERVER_KEYS_CHECK_MAIN_H_
#define HOLDFAST_SERVER_KEYS_CHECK_MAIN_H_

namespace holdfast {

// The exit status; 0 if there is an answer on standard output, whatever it
// says.
int CheckMain();

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_KEYS_CHECK_MAIN_H_
