// The system's resolver, for `smtpctl spf walk`.
#ifndef HOLDFAST_CTL_SPF_SYSTEM_DNS_H_
#define HOLDFAST_CTL_SPF_SYSTEM_DNS_H_

#include <netinet/in.h>
#include <resolv.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "ctl/spf/spf_walk.h"

namespace holdfast {

// As resolv.conf(5) says; but search domains are not tried.
class SystemDns : public SpfDns {
 public:
  SystemDns();
  ~SystemDns() override;

  std::vector<std::string> Texts(const std::string& name) override;
  std::vector<std::string> Exchanges(const std::string& name) override;
  std::vector<std::string> Addresses4(const std::string& name) override;
  std::vector<std::string> Addresses6(const std::string& name) override;

 private:
  struct Answer {
    std::string message;             // the whole packet
    std::vector<size_t> at, length;  // of the records' data in it
  };
  Answer Ask(const std::string& name, int type);
  std::vector<std::string> Addresses(const std::string& name, int type,
                                     int family, size_t size);

  struct __res_state state_ = {};
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SPF_SYSTEM_DNS_H_
