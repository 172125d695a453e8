#include "server/receive/filtered_text.h"

#include <algorithm>
#include <utility>

namespace holdfast {
namespace {

// Smaller pieces are not worth a frame.
constexpr size_t kLeastPiece = 4 << 10;
// By how much a slice may become longer: a line end that had waited.
constexpr size_t kSpare = 16;

}  // namespace

FilteredText::FilteredText(std::shared_ptr<FilteredSession> filters,
                           std::string head)
    : filters_(std::move(filters)) {
  filters_->SendText(std::move(head), false);
}

// What is held goes with it, and so does what it has taken of the window: the
// session's next text needs all of it, even if all of this one was back.
FilteredText::~FilteredText() {
  filters_->TookText(returned_.size());
  filters_->DropText();
}

size_t FilteredText::Room() const {
  const size_t room = filters_->TextRoom();
  return room < kLeastPiece ? 0 : std::min(room - kSpare, kMessageSlice);
}

void FilteredText::Take(SmtpServerSession* session) {
  std::string piece;
  session->ReadMessage(Room(), &piece);
  if (!piece.empty()) filters_->SendText(std::move(piece), false);
}

void FilteredText::OnReturned(absl::string_view bytes, bool end) {
  returned_.append(bytes.data(), bytes.size());
  returned_bytes_ += bytes.size();
  ended_ = end;
}

void FilteredText::MoveTo(IncomingMessage* message, std::string* scratch) {
  if (returned_.empty() || !message->CanTake()) return;
  const std::string text = std::exchange(returned_, {});
  message->TakeText(text, scratch);
  filters_->TookText(text.size());
}

}  // namespace holdfast
