#include "server/filters/milter_filter.h"

#include "server/filters/milter_link_session.h"

namespace holdfast {
namespace {

class MilterFilter : public FilterLink {
 public:
  MilterFilter(const Filter& filter, const MilterServices& services)
      : filter_(filter), services_(services) {}

  const std::string& name() const override { return filter_.name; }
  Source source() const override { return {"milter", filter_.name}; }
  // What a milter wants is known in a session only.
  bool ready() const override { return true; }
  uint32_t phases() const override { return kMilterPhases; }
  uint32_t events_in() const override {
    return MaskOf(FilterEvent::kLinkTls) | MaskOf(FilterEvent::kLinkAuth) |
           MaskOf(FilterEvent::kTxBegin) | MaskOf(FilterEvent::kTxMail) |
           MaskOf(FilterEvent::kTxRollback) | MaskOf(FilterEvent::kTxReset);
  }
  uint32_t events_out() const override { return 0; }
  std::unique_ptr<LinkSession> Begin(absl::Time /*at*/,
                                     const SessionFacts& facts) override {
    return std::make_unique<MilterLinkSession>(filter_, services_, facts);
  }

 private:
  const Filter filter_;
  const MilterServices& services_;
};

}  // namespace

std::unique_ptr<FilterLink> MakeMilterFilter(const Filter& filter,
                                             const MilterServices& services) {
  return std::make_unique<MilterFilter>(filter, services);
}

}  // namespace holdfast
