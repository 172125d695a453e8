// `--json`: what commands print as lines for people and old scripts, as JSON
// (docs/OPERATING.md has the names).  Pure.
#ifndef HOLDFAST_CTL_CONTROL_JSON_OUTPUT_H_
#define HOLDFAST_CTL_CONTROL_JSON_OUTPUT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "protocol/json_line.h"

namespace holdfast {

class JsonOutput {
 public:
  // Turns lines into objects.
  class Lines {
   public:
    virtual ~Lines() = default;
    // The next line, without its end; what is to be printed by now.
    virtual std::string Line(absl::string_view line) = 0;
    // What is left.
    virtual std::string End() { return ""; }
  };

  // For a command in full words.  Null: it has no such form.
  static std::unique_ptr<JsonOutput> For(const std::vector<std::string>& words);

  explicit JsonOutput(std::unique_ptr<Lines> lines)
      : lines_(std::move(lines)) {}

  // The next piece of text, cut anywhere; JSON lines.
  std::string Take(absl::string_view piece);
  // After the last piece.
  std::string End();

 private:
  const std::unique_ptr<Lines> lines_;
  std::string rest_;  // of a line
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_CONTROL_JSON_OUTPUT_H_
