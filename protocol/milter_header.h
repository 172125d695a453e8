// The header of a message, as a milter is shown it and changes it.
//
// Which field an index means is Sendmail's way: a milter does not see the
// Received field that this server put in front (nor its X-Spam); "change" and
// "delete" count the fields of one name that it did see, from 1; "insert"
// counts all fields, from 0, so that 0 is above our own Received.  A field that
// was deleted keeps its number.
#ifndef HOLDFAST_PROTOCOL_MILTER_HEADER_H_
#define HOLDFAST_PROTOCOL_MILTER_HEADER_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "protocol/milter_packets.h"

namespace holdfast {

// Of the header of one message; a milter's additions may take as much again.
inline constexpr size_t kMaxMilterHeaderBytes = 256 << 10;
// Its fields, which cost more than their octets; again as many may be added.
inline constexpr size_t kMaxMilterHeaderFields = 1000;

// Pure.  Memory: the header, and some hundred octets for each field.
class MilterHeader {
 public:
  struct Field {
    std::string name;
    std::string value;  // behind the colon; LF between lines, none at the end
    // As it stands in the message, with the blanks that `name` lacks.
    std::string text;
    bool ours = false;  // not shown
    bool deleted = false;
  };

  // `message`: the message's id, by which our own Received field is known.
  explicit MilterHeader(absl::string_view message)
      : message_(std::string(message)) {}

  enum class State {
    kMore,
    kDone,     // the rest of the text is the body
    kTooLong,  // more than kMaxMilterHeaderBytes or kMaxMilterHeaderFields, or
               // kMaxMilterFieldBytes in one field
  };
  // Takes stored text (lines end with LF) from the front of `*text`; what is
  // left belongs to the body.
  State Feed(absl::string_view* text);
  // The text has ended.
  State Finish();

  const std::vector<Field>& fields() const { return fields_; }

  // Applies a change to the header.  `leading_space`: values bring the blank
  // behind the colon with them.  False: the milter's fields take more than
  // kMaxMilterHeaderBytes, or are more than kMaxMilterHeaderFields.
  [[nodiscard]] bool Apply(const MilterChange& change, bool leading_space);

  // The body will be another: between it and the header is an empty line.
  void ForgetBody() {
    rest_.clear();
    empty_line_ = true;
  }

  // Stored text, up to the body, of which it has the first line where no empty
  // line is between them.
  std::string Text() const;
  // That first line; empty if there is none.
  const std::string& first_of_body() const { return rest_; }

 private:
  void OnLine(absl::string_view line);
  void EndField();
  Field* Find(absl::string_view name, uint32_t index);
  bool Add(size_t index, Field field);

  const std::string message_;
  std::vector<Field> fields_;
  std::string line_;   // the part of a line that has come
  std::string field_;  // the field that may go on
  std::string rest_;   // a line that is no header: the beginning of the body
  bool empty_line_ = false;
  bool done_ = false, too_long_ = false;
  size_t bytes_ = 0, added_bytes_ = 0, added_fields_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_MILTER_HEADER_H_
