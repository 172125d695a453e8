#include "ctl/top/top_model.h"

#include <algorithm>
#include <utility>

namespace holdfast {

void TopModel::OnSnapshot(TopSnapshot snapshot) {
  if (!view_.paused) {
    if (last_) view_.figures = FiguresOf(*last_, snapshot);
    view_.snapshot = snapshot;
    Scroll(0);
  }
  last_ = std::move(snapshot);
}

void TopModel::Scroll(int64_t by) {
  const int64_t last =
      view_.snapshot ? static_cast<int64_t>(view_.snapshot->largest.size()) - 1
                     : 0;
  view_.scroll = static_cast<size_t>(std::clamp<int64_t>(
      static_cast<int64_t>(view_.scroll) + by, 0, std::max<int64_t>(0, last)));
}

void TopModel::SortBy(int column) {
  view_.sort = static_cast<TopColumn>((column + kTopColumns) % kTopColumns);
  view_.reversed = false;
  view_.scroll = 0;
}

bool TopModel::OnKey(const TopKey& key, size_t page) {
  const int64_t rows = std::max<int64_t>(1, static_cast<int64_t>(page));
  const int column = static_cast<int>(view_.sort);
  switch (key.kind) {
    case TopKey::Kind::kUp:
      Scroll(-1);
      return true;
    case TopKey::Kind::kDown:
      Scroll(1);
      return true;
    case TopKey::Kind::kPageUp:
      Scroll(-rows);
      return true;
    case TopKey::Kind::kPageDown:
      Scroll(rows);
      return true;
    case TopKey::Kind::kHome:
      view_.scroll = 0;
      return true;
    case TopKey::Kind::kEnd:
      Scroll(static_cast<int64_t>(kMaxTopDestinations));
      return true;
    case TopKey::Kind::kLeft:
      SortBy(column - 1);
      return true;
    case TopKey::Kind::kRight:
      SortBy(column + 1);
      return true;
    case TopKey::Kind::kCharacter:
      break;
  }
  const char c = key.character;
  if (c == 'q' || c == 'Q' || c == '\x04') return false;
  if (c == 'p' || c == ' ') view_.paused = !view_.paused;
  if (c == 'r') view_.reversed = !view_.reversed;
  if (c >= '1' && c < '1' + kTopColumns) SortBy(c - '1');
  return true;
}

}  // namespace holdfast
