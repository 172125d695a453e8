#include "server/relay/resolver.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

using Addresses = std::vector<IpAddress>;
using AddressesDone = absl::AnyInvocable<void(Addresses, DnsAnswer::Status)>;

constexpr char kNoMxForDomain[] = "No MX found for domain";
constexpr char kNoMxForDestination[] = "No MX found for destination";

MailHosts Failed(MailHosts::Result result, EnhancedStatus status,
                 const char* text) {
  MailHosts hosts;
  hosts.result = result;
  hosts.status = status;
  hosts.text = text;
  return hosts;
}

// What a failed question for MX records means for the mail.
MailHosts FailedLookup(DnsAnswer::Status status) {
  using R = MailHosts::Result;
  switch (status) {
    case DnsAnswer::Status::kNoDomain:
      return Failed(R::kPermFail, {5, 12}, "Domain does not exist");
    case DnsAnswer::Status::kInvalid:
      return Failed(R::kPermFail, {5, 12}, "Invalid domain name");
    default:
      return Failed(R::kTempFail, {4, 43}, "Temporary failure in MX lookup");
  }
}

bool IsHostName(absl::string_view name) {
  if (name.empty() || name.size() > 255) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  });
}

// The MX records of a domain while their targets are looked up.
struct MxJob {
  struct Target {
    std::string name;
    int32_t preference;
    Addresses addresses;
  };
  std::vector<Target> targets;
  size_t open = 0;  // targets whose addresses are still to come
  bool backup_not_found = false;
  std::optional<int32_t> own_preference;
  Resolver::HostsDone done;
};

class DnsResolver : public Resolver {
 public:
  DnsResolver(EventLoop* loop, ResolverOptions options,
              DnsTransportMaker make_transport)
      : loop_(loop),
        options_(std::move(options)),
        make_transport_(std::move(make_transport)),
        dns_(loop, make_transport_(options_.conf)) {
    bool inet4 = false;
    for (const IpAddress& a : options_.own) {
      if (a.IsLoopbackOrUnspecified() || a.IsLinkLocal()) continue;
      (a.inet6 ? use_inet6_ : inet4) = true;
    }
    // Without any address of the wider network both may be all there is.
    use_inet4_ = inet4 || !use_inet6_;
    use_inet6_ = use_inet6_ || !inet4;
  }

  void SetFiles(ResolvConf conf, HostsFile hosts) override {
    options_.conf = std::move(conf);
    options_.hosts = std::move(hosts);
    dns_.SetTransport(make_transport_(options_.conf));
  }
  void FindMx(const std::string& domain, const std::string& backup_name,
              HostsDone done) override;
  void FindHost(const std::string& name, HostsDone done) override;
  void FindName(const IpAddress& address, NameDone done) override;
  void FindPtr(const IpAddress& address,
               absl::AnyInvocable<void(std::string)> done) override;

 private:
  void OnMx(const std::string& domain, const std::string& backup_name,
            HostsDone done, const DnsAnswer& answer);
  void FindTargets(std::shared_ptr<MxJob> job);
  void FinishMx(MxJob* job);
  bool IsOwn(const IpAddress& address) const;
  void FindAddresses(const std::string& name, AddressesDone done);
  void TryNames(std::vector<std::string> candidates, const std::string& name,
                HostsDone done);
  void Confirm(const IpAddress& address, std::string name, NameDone done);
  // Calls `task` in a later turn.
  void Later(Task task);

  EventLoop* loop_;
  ResolverOptions options_;
  const DnsTransportMaker make_transport_;
  DnsClient dns_;
  bool use_inet4_ = false, use_inet6_ = false;
  std::vector<Task> later_;
  EventLoop::Timer later_timer_;
};

void DnsResolver::Later(Task task) {
  later_.push_back(std::move(task));
  if (later_.size() > 1) return;
  later_timer_ = loop_->RunAfter(absl::ZeroDuration(), [this] {
    std::vector<Task> tasks = std::exchange(later_, {});
    for (Task& task : tasks) task();
  });
}

// ---- MX

void DnsResolver::FindMx(const std::string& domain,
                         const std::string& backup_name, HostsDone done) {
  if (absl::StartsWith(domain, "[")) {
    auto job = std::make_shared<MxJob>();
    job->done = std::move(done);
    const std::optional<IpAddress> literal = ParseAddressLiteral(domain);
    if (literal) job->targets.push_back({domain, -1, {*literal}});
    return Later([this, job, literal] {
      if (literal) return FinishMx(job.get());
      job->done(FailedLookup(DnsAnswer::Status::kInvalid));
    });
  }
  dns_.Lookup(domain, DnsType::kMx,
              [this, domain, backup_name,
               done = std::move(done)](const DnsAnswer& answer) mutable {
                OnMx(domain, backup_name, std::move(done), answer);
              });
}

void DnsResolver::OnMx(const std::string& domain,
                       const std::string& backup_name, HostsDone done,
                       const DnsAnswer& answer) {
  auto job = std::make_shared<MxJob>();
  job->done = std::move(done);
  if (answer.status == DnsAnswer::Status::kNoData) {
    // RFC 5321 section 5.1: the domain is its own MX.
    job->targets.push_back({absl::AsciiStrToLower(domain), 0, {}});
    return FindTargets(std::move(job));
  }
  if (answer.status != DnsAnswer::Status::kFound)
    return job->done(FailedLookup(answer.status));
  for (const DnsRecord& r : answer.records)
    if (!r.target.empty() && r.target != "localhost")
      job->targets.push_back({r.target, r.preference, {}});
  if (job->targets.empty())
    return job->done(Failed(MailHosts::Result::kPermFail, {5, 12},
                            "Domain does not accept mail"));
  std::stable_sort(
      job->targets.begin(), job->targets.end(),
      [](const auto& a, const auto& b) { return a.preference < b.preference; });
  if (!backup_name.empty()) {
    for (const MxJob::Target& t : job->targets)
      if (!job->own_preference && absl::EqualsIgnoreCase(t.name, backup_name))
        job->own_preference = t.preference;
    job->backup_not_found = !job->own_preference;
  }
  if (job->targets.size() > kMaxMxHosts) job->targets.resize(kMaxMxHosts);
  FindTargets(std::move(job));
}

void DnsResolver::FindTargets(std::shared_ptr<MxJob> job) {
  job->open = job->targets.size();
  for (size_t i = 0; i < job->targets.size(); ++i)
    FindAddresses(job->targets[i].name,
                  [this, job, i](Addresses addresses, DnsAnswer::Status) {
                    job->targets[i].addresses = std::move(addresses);
                    if (--job->open == 0) FinishMx(job.get());
                  });
}

// RFC 5321 section 5.1: from a host that is ourselves on, all are discarded;
// the hosts behind it would give the mail back to us.  One that names nobody's
// machine (127.0.0.1) is passed over by itself.
void DnsResolver::FinishMx(MxJob* job) {
  MailHosts result;
  for (const MxJob::Target& t : job->targets)
    for (const IpAddress& address : t.addresses)
      if (IsOwn(address) && !address.IsLoopbackOrUnspecified())
        job->own_preference =
            std::min(t.preference, job->own_preference.value_or(t.preference));
  bool any = false;
  for (const MxJob::Target& t : job->targets) {
    any = any || !t.addresses.empty();
    for (const IpAddress& address : t.addresses) {
      if (IsOwn(address))
        result.loops_back = true;
      else if (t.preference < job->own_preference.value_or(INT32_MAX))
        result.hosts.push_back({address, t.name, t.preference});
    }
  }
  result.backup_not_found = job->backup_not_found;
  result.result = MailHosts::Result::kOk;
  if (result.hosts.empty()) {
    result.result = MailHosts::Result::kTempFail;
    result.status = {4, 44};
    result.text = any ? kNoMxForDestination : kNoMxForDomain;
  }
  job->done(std::move(result));
}

bool DnsResolver::IsOwn(const IpAddress& address) const {
  return address.IsLoopbackOrUnspecified() ||
         std::find(options_.own.begin(), options_.own.end(), address) !=
             options_.own.end();
}

// ---- addresses

// Of a host: from its text, from the hosts file, from A and AAAA records.
void DnsResolver::FindAddresses(const std::string& name, AddressesDone done) {
  Addresses known = options_.hosts.Addresses(name);
  if (const std::optional<IpAddress> address = IpAddress::Parse(name))
    known = {*address};
  if (!known.empty()) {
    if (known.size() > kMaxAddressesPerHost) known.resize(kMaxAddressesPerHost);
    return Later([known, done = std::move(done)]() mutable {
      done(known, DnsAnswer::Status::kFound);
    });
  }
  struct Job {
    int open = 0;
    Addresses inet4, inet6;
    DnsAnswer::Status status = DnsAnswer::Status::kNoDomain;
    AddressesDone done;
  };
  auto job = std::make_shared<Job>();
  job->done = std::move(done);
  job->open = use_inet4_ + use_inet6_;
  const auto on_answer = [job](const DnsAnswer& answer) {
    for (const DnsRecord& r : answer.records) {
      Addresses& list = r.address.inet6 ? job->inet6 : job->inet4;
      if (list.size() < kMaxAddressesPerHost) list.push_back(r.address);
    }
    if (answer.status == DnsAnswer::Status::kTemporary)
      job->status = answer.status;
    if (--job->open > 0) return;
    Addresses all = std::move(job->inet4);
    all.insert(all.end(), job->inet6.begin(), job->inet6.end());
    if (all.size() > kMaxAddressesPerHost) all.resize(kMaxAddressesPerHost);
    const auto status = all.empty() ? job->status : DnsAnswer::Status::kFound;
    job->done(std::move(all), status);
  };
  if (use_inet4_) dns_.Lookup(name, DnsType::kA, on_answer);
  if (use_inet6_) dns_.Lookup(name, DnsType::kAaaa, on_answer);
}

void DnsResolver::FindHost(const std::string& name, HostsDone done) {
  std::vector<std::string> candidates;
  if (const std::optional<IpAddress> literal = ParseAddressLiteral(name)) {
    candidates.push_back(literal->ToString());
  } else {
    // As resolv.conf(5) has it with `ndots:1`; tried from the back.
    candidates.push_back(name);
    if (!absl::StrContains(name, '.') &&
        options_.hosts.Addresses(name).empty()) {
      const std::vector<std::string>& search = options_.conf.search;
      for (auto it = search.rbegin(); it != search.rend(); ++it)
        candidates.push_back(absl::StrCat(name, ".", *it));
    }
  }
  TryNames(std::move(candidates), name, std::move(done));
}

void DnsResolver::TryNames(std::vector<std::string> candidates,
                           const std::string& name, HostsDone done) {
  const std::string candidate = std::move(candidates.back());
  candidates.pop_back();
  FindAddresses(candidate, [this, candidates = std::move(candidates), name,
                            done = std::move(done)](Addresses addresses,
                                                    DnsAnswer::Status) mutable {
    if (addresses.empty() && !candidates.empty())
      return TryNames(std::move(candidates), name, std::move(done));
    if (addresses.empty())
      return done(
          Failed(MailHosts::Result::kTempFail, {4, 44}, "Host not found"));
    MailHosts hosts;
    hosts.result = MailHosts::Result::kOk;
    for (const IpAddress& a : addresses) hosts.hosts.push_back({a, name, 0});
    done(std::move(hosts));
  });
}

// ---- names

// The first name in the answer that could be a host's; else empty.
std::string NameIn(const DnsAnswer& answer) {
  for (const DnsRecord& r : answer.records)
    if (IsHostName(r.target)) return r.target;
  return "";
}

void DnsResolver::FindName(const IpAddress& address, NameDone done) {
  std::string known = options_.hosts.Name(address);
  if (!known.empty())
    return Confirm(address, std::move(known), std::move(done));
  dns_.Lookup(
      ReverseDnsName(address), DnsType::kPtr,
      [this, address, done = std::move(done)](const DnsAnswer& answer) mutable {
        std::string name = NameIn(answer);
        if (!name.empty())
          return Confirm(address, std::move(name), std::move(done));
        using Status = DnsAnswer::Status;
        const bool error = answer.status == Status::kTemporary ||
                           answer.status == Status::kInvalid;
        done({"", error ? HostName::Confirmed::kError
                        : HostName::Confirmed::kFail});
      });
}

void DnsResolver::FindPtr(const IpAddress& address,
                          absl::AnyInvocable<void(std::string)> done) {
  std::string known = options_.hosts.Name(address);
  if (!known.empty())
    return Later([known, done = std::move(done)]() mutable { done(known); });
  dns_.Lookup(ReverseDnsName(address), DnsType::kPtr,
              [done = std::move(done)](const DnsAnswer& answer) mutable {
                done(NameIn(answer));
              });
}

void DnsResolver::Confirm(const IpAddress& address, std::string name,
                          NameDone done) {
  // A name that reads like an address proves nothing about itself.
  if (IpAddress::Parse(name))
    return Later([name, done = std::move(done)]() mutable {
      done({name, HostName::Confirmed::kFail});
    });
  FindAddresses(name,
                [address, name, done = std::move(done)](
                    Addresses addresses, DnsAnswer::Status status) mutable {
                  HostName result{name, HostName::Confirmed::kFail};
                  if (status == DnsAnswer::Status::kTemporary)
                    result.confirmed = HostName::Confirmed::kError;
                  if (std::find(addresses.begin(), addresses.end(), address) !=
                      addresses.end())
                    result.confirmed = HostName::Confirmed::kPass;
                  done(std::move(result));
                });
}

}  // namespace

std::unique_ptr<Resolver> MakeDnsResolver(EventLoop* loop,
                                          ResolverOptions options,
                                          DnsTransportMaker make_transport) {
  return std::make_unique<DnsResolver>(loop, std::move(options),
                                       std::move(make_transport));
}

}  // namespace holdfast
