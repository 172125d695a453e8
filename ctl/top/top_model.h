// What `smtpctl top` shows, and what keys do to it.  Pure.
#ifndef HOLDFAST_CTL_TOP_TOP_MODEL_H_
#define HOLDFAST_CTL_TOP_TOP_MODEL_H_

#include <optional>
#include <string>

#include "ctl/top/top_keys.h"
#include "ctl/top/top_screen.h"
#include "protocol/top_snapshot.h"

namespace holdfast {

class TopModel {
 public:
  // While it is paused, the picture stays.
  void OnSnapshot(TopSnapshot snapshot);
  // False: the user has had enough.  `page` is how many destinations there is
  // room for.
  bool OnKey(const TopKey& key, size_t page);
  // The server is away, or (empty) is not.
  void SetNotice(std::string notice) { view_.notice = std::move(notice); }

  const TopView& view() const { return view_; }

 private:
  void Scroll(int64_t by);
  void SortBy(int column);

  TopView view_;
  std::optional<TopSnapshot> last_;  // also while it is paused
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TOP_TOP_MODEL_H_
