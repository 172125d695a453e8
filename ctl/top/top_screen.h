// The picture of `smtpctl top`: what is known, as lines of a given size.  Pure.
// Everything from outside is escaped (protocol/vis.h): no octet of it reaches a
// terminal as it came.
#ifndef HOLDFAST_CTL_TOP_TOP_SCREEN_H_
#define HOLDFAST_CTL_TOP_TOP_SCREEN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "ctl/top/top_figures.h"
#include "protocol/top_snapshot.h"

namespace holdfast {

// In the order in which they stand.
enum class TopColumn : uint8_t {
  kEnvelopes,
  kInFlight,
  kFailed,
  kFailing,
  kNext,
  kAge,
  kAction,
  kDestination,
};
inline constexpr int kTopColumns = 8;

struct TopView {
  std::optional<TopSnapshot> snapshot;  // none has come yet
  TopFigures figures;
  TopColumn sort = TopColumn::kEnvelopes;
  bool reversed = false;  // else numbers fall, and texts rise
  size_t scroll = 0;      // destinations left out at the top
  bool paused = false;
  std::string notice;  // takes the place of the keys, if there is one
};

struct TopSize {
  size_t rows = 24, columns = 80;
};

struct TopLine {
  std::string text;  // printable ASCII
  enum class Style : uint8_t { kPlain, kBold, kInverse } style = Style::kPlain;
};

// Lines above the destinations, their heading included; and the one below.
inline constexpr size_t kTopHeadLines = 9;
inline constexpr size_t kTopFootLines = 1;

// At most `rows` lines of at most `columns` characters; on a screen that is
// large enough, exactly `rows` of them.
std::vector<TopLine> TopScreen(const TopView& view, TopSize size);

// All of it, for a file: no keys, no padding, no cutting.
std::string TopText(const TopView& view);

// "45s", "12m03s", "3h05m", "2d04h"; "-": there is none.
std::string ShortTime(absl::Duration time);
// "999", "12.3k", "4.0M".
std::string ShortBytes(uint64_t bytes);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TOP_TOP_SCREEN_H_
