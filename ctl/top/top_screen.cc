#include "ctl/top/top_screen.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

using Style = TopLine::Style;

struct Column {
  const char* title;
  int width;  // below 0: left aligned
};
constexpr Column kColumns[kTopColumns] = {
    {"ENVELOPES", 10}, {"FLIGHT", 7}, {"FAILED", 7},  {"FAILING", 8},
    {"NEXT", 7},       {"AGE", 7},    {"ACTION", -8}, {"DESTINATION", -24},
};

// To its width; only what stands on the left is ever cut.
std::string Cell(const Column& column, std::string text) {
  const size_t width = static_cast<size_t>(std::abs(column.width));
  if (column.width < 0) text = text.substr(0, width);
  const std::string gap(width - std::min(width, text.size()), ' ');
  return column.width < 0 ? text + gap : gap + text;
}

std::string Heading(const TopView& view) {
  std::vector<std::string> cells;
  for (int i = 0; i < kTopColumns; ++i) {
    const bool sorts = i == static_cast<int>(view.sort);
    std::string title = kColumns[i].title;
    // The heading of what is sorted by is in brackets where there is room.
    if (sorts) title = absl::StrCat(view.reversed ? "^" : "*", title);
    cells.push_back(Cell(kColumns[i], title));
  }
  return absl::StrCat(absl::StrJoin(cells, " "), " ERROR");
}

absl::Duration Since(absl::Time then, absl::Time now) {
  if (then == absl::InfinitePast() || then == absl::InfiniteFuture())
    return absl::InfiniteDuration();
  return std::max(now - then, absl::ZeroDuration());
}

std::string NextText(const TopDestination& d, absl::Time now) {
  if (d.next == absl::InfiniteFuture()) return "-";
  return d.next <= now ? "now" : ShortTime(d.next - now);
}

std::string Row(const TopDestination& d, absl::Time now) {
  const std::string cells[kTopColumns] = {
      absl::StrCat(d.envelopes), absl::StrCat(d.inflight),
      absl::StrCat(d.failures),  ShortTime(Since(d.first_failure, now)),
      NextText(d, now),          ShortTime(Since(d.oldest, now)),
      VisEncode(d.action),       VisEncode(d.routing_key),
  };
  std::string line;
  for (int i = 0; i < kTopColumns; ++i)
    absl::StrAppend(&line, Cell(kColumns[i], cells[i]), " ");
  return line + VisEncode(d.error);
}

// Smaller comes first: numbers fall.
std::tuple<double, std::string> SortKey(const TopDestination& d,
                                        TopColumn column, absl::Time now) {
  const auto time = [](absl::Duration t) {
    return t == absl::InfiniteDuration() ? -1 : absl::ToDoubleSeconds(t);
  };
  switch (column) {
    case TopColumn::kEnvelopes:
      return {-static_cast<double>(d.envelopes), ""};
    case TopColumn::kInFlight:
      return {-static_cast<double>(d.inflight), ""};
    case TopColumn::kFailed:
      return {-static_cast<double>(d.failures), ""};
    case TopColumn::kFailing:
      return {-time(Since(d.first_failure, now)), ""};
    case TopColumn::kNext:
      return {-time(d.next <= now ? absl::ZeroDuration() : d.next - now), ""};
    case TopColumn::kAge:
      return {-time(Since(d.oldest, now)), ""};
    case TopColumn::kAction:
      return {0, d.action};
    case TopColumn::kDestination:
      return {0, d.routing_key};
  }
  return {0, ""};
}

std::vector<const TopDestination*> Sorted(const TopView& view) {
  std::vector<const TopDestination*> sorted;
  const TopSnapshot& s = *view.snapshot;
  for (const TopDestination& d : s.largest) sorted.push_back(&d);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](const TopDestination* a, const TopDestination* b) {
                     if (view.reversed) std::swap(a, b);
                     return SortKey(*a, view.sort, s.now) <
                            SortKey(*b, view.sort, s.now);
                   });
  return sorted;
}

std::string States(const TopGauges& g) {
  std::vector<std::string> states;
  if (!g.accepting) states.push_back("no room for mail");
  if (g.smtp_paused) states.push_back("smtp paused");
  if (g.mta_paused) states.push_back("mta paused");
  if (g.mda_paused) states.push_back("mda paused");
  return absl::StrJoin(states, ", ");
}

// kTopHeadLines of them.
std::vector<TopLine> Head(const TopView& view) {
  const TopSnapshot& s = *view.snapshot;
  const TopGauges& g = s.gauges;
  const TopFigures& f = view.figures;
  const std::string states = States(g);
  std::vector<TopLine> lines;
  lines.push_back({absl::StrCat("smtpd up ", ShortTime(s.now - s.started), "  ",
                                absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", s.now,
                                                 absl::UTCTimeZone()),
                                states.empty() ? "" : "  ", states,
                                view.paused ? "  (paused)" : ""),
                   Style::kBold});
  const auto add = [&lines](std::string text) {
    lines.push_back({std::move(text), Style::kPlain});
  };
  add(absl::StrFormat(
      "queue    %d envelopes, %d messages, %d destinations, %d in flight",
      g.envelopes, g.messages, g.destinations, g.inflight));
  add(absl::StrFormat("store    %s of %s; %d reports to send, %d set aside",
                      ShortBytes(g.used_bytes), ShortBytes(g.size_limit),
                      g.reports, g.aside));
  add(absl::StrFormat("in       %.1f/s accepted, %.1f/s refused", f.enqueued,
                      f.refused));
  add(absl::StrFormat(
      "out      %.1f/s ok, %.1f/s tempfail, %.1f/s permfail, %.1f/s loop", f.ok,
      f.tempfail, f.permfail, f.loop));
  add(absl::StrFormat(
      "ended    %.1f/s; %.1f/s expired, %.1f/s removed, %.1f/s bounces",
      f.dequeued, f.expired, f.removed, f.bounces));
  add(absl::StrFormat(
      "sessions %d (%d with TLS), %.1f/s new; %d with next hops", g.sessions,
      g.tls, f.connected, g.relay_sessions));
  add(absl::StrFormat(
      "commits  %.1f/s, %.1f operations (99%%: %d), %.1f ms (50%%: %.1f, 99%%: "
      "%.1f)",
      f.commits, f.operations_mean, f.operations_p99, f.ms_mean, f.ms_p50,
      f.ms_p99));
  lines.push_back({Heading(view), Style::kInverse});
  return lines;
}

TopLine Foot(const TopView& view) {
  if (!view.notice.empty()) return {VisEncode(view.notice), Style::kInverse};
  return {
      "q quit  p pause  left/right or 1-8 sort by  r reverse  up/down scroll",
      Style::kPlain};
}

}  // namespace

std::string ShortTime(absl::Duration time) {
  if (time == absl::InfiniteDuration()) return "-";
  const int64_t s = std::max<int64_t>(0, absl::ToInt64Seconds(time));
  if (s < 60) return absl::StrCat(s, "s");
  if (s < 3600) return absl::StrFormat("%dm%02ds", s / 60, s % 60);
  if (s < 86400) return absl::StrFormat("%dh%02dm", s / 3600, s / 60 % 60);
  return absl::StrFormat("%dd%02dh", s / 86400, s / 3600 % 24);
}

std::string ShortBytes(uint64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes);
  double value = static_cast<double>(bytes);
  const char* unit = " kMGTPE";
  for (; value >= 1024 && unit[1] != 0; ++unit) value /= 1024;
  return absl::StrFormat("%.1f%c", value, *unit);
}

std::vector<TopLine> TopScreen(const TopView& view, TopSize size) {
  std::vector<TopLine> lines;
  const size_t room =
      size.rows > kTopFootLines ? size.rows - kTopFootLines : size.rows;
  if (view.snapshot) {
    lines = Head(view);
    const auto sorted = Sorted(view);
    const size_t shown = room > lines.size() ? room - lines.size() : 0;
    // The last page stays a page.
    const size_t most = sorted.size() - std::min(sorted.size(), shown);
    for (size_t i = std::min(view.scroll, most);
         i < sorted.size() && lines.size() < room; ++i)
      lines.push_back({Row(*sorted[i], view.snapshot->now), Style::kPlain});
  }
  lines.resize(room);
  if (room < size.rows) lines.push_back(Foot(view));
  for (TopLine& line : lines)
    line.text.resize(std::min(line.text.size(), size.columns));
  return lines;
}

std::string TopText(const TopView& view) {
  std::string text;
  if (!view.snapshot) return text;
  const auto add = [&text](const std::string& line) {
    absl::StrAppend(&text, line.substr(0, line.find_last_not_of(' ') + 1),
                    "\n");
  };
  for (const TopLine& line : Head(view)) add(line.text);
  for (const TopDestination* d : Sorted(view)) add(Row(*d, view.snapshot->now));
  return text;
}

}  // namespace holdfast
