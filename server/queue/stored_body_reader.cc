#include "server/queue/stored_body_reader.h"

#include <optional>
#include <utility>
#include <vector>

#include "storage/body_codec.h"

namespace holdfast {

// Handed to the reader thread with each Read() and not touched here until its
// answer has come.
struct StoredBodyReader::State {
  MessageId message{};
  std::optional<BodyDecompressor> body;
  uint32_t next_chunk = 0;
  absl::AnyInvocable<void(absl::StatusOr<Piece>)> done;

  absl::StatusOr<Piece> ReadFrom(const QueueView& view) {
    if (!body) {
      absl::StatusOr<MessageRow> row = view.FindMessage(message);
      if (!row.ok()) return row.status();
      body.emplace(row->body);
    }
    Piece piece;
    while (piece.bytes.size() < kPieceBytes) {
      absl::StatusOr<BodyDecompressor::Progress> progress =
          body->Read(kPieceBytes - piece.bytes.size(), &piece.bytes);
      if (!progress.ok()) return progress.status();
      piece.end = *progress == BodyDecompressor::kEnd;
      if (piece.end) break;
      if (*progress == BodyDecompressor::kMore) continue;
      absl::StatusOr<std::vector<std::string>> chunks =
          view.BodyChunks(message, next_chunk, 1);
      if (!chunks.ok()) return chunks.status();
      if (chunks->size() != 1) return absl::DataLossError("a chunk is missing");
      ++next_chunk;
      body->Feed(std::move(chunks->front()));
    }
    return piece;
  }
};

StoredBodyReader::StoredBodyReader(EventLoop* loop, QueueStore* store,
                                   MessageId message)
    : loop_(loop), store_(store), state_(std::make_shared<State>()) {
  state_->message = message;
}

StoredBodyReader::~StoredBodyReader() = default;

void StoredBodyReader::Read(
    absl::AnyInvocable<void(absl::StatusOr<Piece>)> done) {
  state_->done = std::move(done);
  store_->ReadLater([loop = loop_, state = state_](
                        absl::StatusOr<const QueueView*> view) mutable {
    absl::StatusOr<Piece> piece =
        view.ok() ? state->ReadFrom(**view) : view.status();
    // The last reference goes on the loop's thread, where `done` belongs.
    loop->Post([weak = std::weak_ptr<State>(state), state = std::move(state),
                piece = std::move(piece)]() mutable {
      state.reset();
      if (std::shared_ptr<State> alive = weak.lock()) {
        auto tell = std::move(alive->done);
        tell(std::move(piece));
      }
    });
  });
}

}  // namespace holdfast
