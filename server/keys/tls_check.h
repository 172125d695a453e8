// What is wrong with keys, certificates and TLS options, found before the
// server starts: parent, which knows no TLS library, runs `smtpd-keys` for it.
#ifndef HOLDFAST_SERVER_KEYS_TLS_CHECK_H_
#define HOLDFAST_SERVER_KEYS_TLS_CHECK_H_

#include <functional>
#include <string>
#include <vector>

#include "config/config.h"
#include "server/door/keys_messages.h"
#include "server/door/parent_messages.h"

namespace holdfast {

// `files`: certificates, keys and authorities.  `ask` is asked for the
// passphrase of an encrypted key, with the name of its pki; nothing: there is
// nobody to ask.  The keys in the answer are those that were encrypted.
TlsChecked CheckTls(const Config& config, std::vector<Start::File> files,
                    const std::function<std::string(std::string)>& ask);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_KEYS_TLS_CHECK_H_
