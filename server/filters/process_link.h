// A link of a chain whose filter is a process.
#ifndef HOLDFAST_SERVER_FILTERS_PROCESS_LINK_H_
#define HOLDFAST_SERVER_FILTERS_PROCESS_LINK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/filters/filter.h"
#include "server/filters/filter_program.h"

namespace holdfast {

// What a client hears at the end of a message with such a line.
inline constexpr char kLineTooLong[] = "500 5.6.0 Line too long";

// A standalone report of the process that a session's filter is.
using ProcessSays =
    std::function<void(SessionId session, absl::string_view text)>;

// Used on the loop's thread only.
class ProcessLink : public FilterLink {
 public:
  // `program` outlives this.  `token`: any, the same as long as the room lives;
  // its lowest bits name the phase.
  ProcessLink(std::string name, FilterProgram* program, uint64_t token,
              ProcessSays says);

  const std::string& name() const override { return name_; }
  Source source() const override { return {"proc", program_->name()}; }
  bool ready() const override { return program_->known(); }
  // While it is missing, all that lets it refuse.
  uint32_t phases() const override;
  uint32_t events_in() const override;
  uint32_t events_out() const override;
  std::unique_ptr<LinkSession> Begin(absl::Time at,
                                     const SessionFacts& facts) override;

  FilterProgram* program() const { return program_; }
  uint64_t token() const { return token_; }
  const ProcessSays& says() const { return says_; }

 private:
  std::string name_;
  FilterProgram* program_;
  uint64_t token_;
  ProcessSays says_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_PROCESS_LINK_H_
