#include "protocol/queue_lister.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

// Of the containers, for each row.
constexpr size_t kRowOverhead = 160;

bool IsText(FieldType type) {
  return type == FieldType::kText || type == FieldType::kWord ||
         type == FieldType::kWords;
}

void Count(const EnvelopeFacts& facts, QueueGroup* group) {
  ++group->count;
  group->bytes += facts.size;
  group->oldest = std::min(group->oldest, facts.envelope.created);
}

}  // namespace

QueueLister::QueueLister(QueueListRequest request, absl::Time now)
    : request_(std::move(request)), now_(now) {
  others_.value = "(others)";
  if (request_.group_by)
    header_ = QueueGroupHeader(request_);
  else if (!request_.count)
    header_ = QueueRowHeader(request_);
}

absl::Status QueueLister::Add(const EnvelopeFacts& facts) {
  if (full_) return absl::OkStatus();
  ++count_;
  bytes_ += facts.size;
  if (request_.count) return absl::OkStatus();
  if (request_.group_by) {
    AddToGroup(facts);
    return absl::OkStatus();
  }
  if (request_.sort) return AddSorted(facts);
  lines_.push_back(QueueRow(request_, facts, now_));
  full_ = request_.limit && count_ >= *request_.limit;
  return absl::OkStatus();
}

QueueLister::SortKey QueueLister::KeyOf(const EnvelopeFacts& facts) const {
  SortKey key;
  key.id = facts.envelope.id;
  if (IsText(InfoOf(*request_.sort).type)) {
    key.text = absl::AsciiStrToLower(FieldText(facts, *request_.sort, now_));
    if (key.text.size() > kMaxGroupValue) key.text.resize(kMaxGroupValue);
    key.none = key.text.empty();
  } else {
    const auto number = FieldNumber(facts, *request_.sort, now_);
    key.none = !number;
    key.number = number.value_or(0);
  }
  return key;
}

bool QueueLister::Before(const Sorted& a, const Sorted& b) const {
  if (a.key.none != b.key.none) return b.key.none;
  const auto order = [](const Sorted& x, const Sorted& y) {
    return std::tie(x.key.number, x.key.text) <
           std::tie(y.key.number, y.key.text);
  };
  if (order(a, b)) return !request_.descending;
  if (order(b, a)) return request_.descending;
  return a.key.id < b.key.id;
}

absl::Status QueueLister::AddSorted(const EnvelopeFacts& facts) {
  const auto before = [this](const Sorted& a, const Sorted& b) {
    return Before(a, b);
  };
  const auto weight = [](const Sorted& row) {
    return kRowOverhead + row.key.text.size() + row.line.size();
  };
  Sorted row{KeyOf(facts), ""};
  if (request_.limit && sorted_.size() == *request_.limit) {
    if (!Before(row, sorted_.front())) return absl::OkStatus();
    std::pop_heap(sorted_.begin(), sorted_.end(), before);
    kept_bytes_ -= weight(sorted_.back());
    sorted_.pop_back();
  }
  row.line = QueueRow(request_, facts, now_);
  kept_bytes_ += weight(row);
  sorted_.push_back(std::move(row));
  if (request_.limit) std::push_heap(sorted_.begin(), sorted_.end(), before);
  if (sorted_.size() <= kMaxListedRows && kept_bytes_ <= kMaxListedBytes)
    return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("more than can be sorted: at most ", kMaxListedRows,
                   " envelopes or ", kMaxListedBytes >> 20,
                   " MiB of text; say --limit, or a narrower filter"));
}

void QueueLister::AddToGroup(const EnvelopeFacts& facts) {
  std::string value = FieldText(facts, *request_.group_by, now_);
  if (value.size() > kMaxGroupValue) value.resize(kMaxGroupValue);
  // Letters of either case are equal in domains, and as good as that in
  // everything else.
  std::string key = absl::AsciiStrToLower(value);
  const auto found = groups_.find(key);
  if (found != groups_.end()) return Count(facts, &found->second);
  const size_t weight = kRowOverhead + key.size() + value.size();
  if (groups_.size() == kMaxListedRows ||
      kept_bytes_ + weight > kMaxListedBytes)
    return Count(facts, &others_);
  kept_bytes_ += weight;
  QueueGroup& group = groups_[std::move(key)];
  group.value = std::move(value);
  Count(facts, &group);
}

void QueueLister::EndGroups() {
  std::vector<QueueGroup> groups;
  for (auto& [key, group] : groups_) groups.push_back(std::move(group));
  groups_.clear();
  // In order of their names before: equal ones keep it.
  std::stable_sort(groups.begin(), groups.end(),
                   [](const QueueGroup& a, const QueueGroup& b) {
                     return a.count > b.count;
                   });
  if (others_.count > 0) groups.push_back(others_);
  const size_t most =
      std::min<uint64_t>(groups.size(), request_.limit.value_or(groups.size()));
  for (size_t i = 0; i < most; ++i)
    lines_.push_back(QueueGroupRow(request_, groups[i], now_));
}

void QueueLister::End() {
  if (ended_) return;
  ended_ = true;
  // Nothing at all is clearer to people than a title of nothing.
  if (count_ == 0 && request_.format == QueueListRequest::Format::kText)
    header_.clear();
  if (request_.count) lines_.push_back(QueueCount(request_, count_, bytes_));
  if (request_.group_by) EndGroups();
  std::sort(sorted_.begin(), sorted_.end(),
            [this](const Sorted& a, const Sorted& b) { return Before(a, b); });
  for (Sorted& row : sorted_) lines_.push_back(std::move(row.line));
  sorted_.clear();
}

std::string QueueLister::Take(size_t max_bytes) {
  if (!ended_ && (keeps_rows() || lines_.empty())) return "";
  std::string text = std::exchange(header_, "");
  while (!lines_.empty() && (text.empty() || text.size() < max_bytes)) {
    text += lines_.front();
    lines_.pop_front();
  }
  return text;
}

}  // namespace holdfast
