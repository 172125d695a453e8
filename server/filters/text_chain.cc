#include "server/filters/text_chain.h"

#include <utility>

namespace holdfast {

TextChain::TextChain(EventLoop* loop, Owner* owner,
                     const std::vector<std::unique_ptr<LinkSession>>& links)
    : loop_(loop), owner_(owner) {
  for (const std::unique_ptr<LinkSession>& link : links) {
    if (!link->Wants(FilterPhase::kDataLine)) continue;
    Stage stage;
    stage.joint = std::make_unique<Joint>(this, stages_.size());
    stage.stage = link->BeginText(stage.joint.get());
    if (stage.stage != nullptr) stages_.push_back(std::move(stage));
  }
}

TextChain::~TextChain() {
  *alive_ = false;
  over_ = true;
}

void TextChain::Write(absl::string_view bytes) {
  if (!over_) stages_.front().stage->Write(bytes);
}

void TextChain::End() {
  if (!over_) stages_.front().stage->End();
}

void TextChain::OutputTaken(size_t bytes) {
  if (!over_) stages_.back().stage->OutputTaken(bytes);
}

void TextChain::GiveCredits() {
  credits_scheduled_ = false;
  for (size_t i = 0; i < stages_.size() && !over_; ++i) {
    const size_t taken = std::exchange(stages_[i].taken, 0);
    if (taken == 0) continue;
    if (i == 0)
      owner_->OnChainTaken(taken);
    else
      stages_[i - 1].stage->OutputTaken(taken);
  }
}

void TextChain::Joint::OnText(absl::string_view bytes) {
  if (chain_->over_) return;
  if (place_ + 1 < chain_->stages_.size())
    chain_->stages_[place_ + 1].stage->Write(bytes);
  else
    chain_->owner_->OnChainText(bytes);
}

void TextChain::Joint::OnTextEnd() {
  if (chain_->over_) return;
  if (place_ + 1 < chain_->stages_.size())
    return chain_->stages_[place_ + 1].stage->End();
  chain_->over_ = true;
  chain_->owner_->OnChainEnd();
}

void TextChain::Joint::OnTextFailed(std::string reply) {
  if (std::exchange(chain_->over_, true)) return;
  chain_->owner_->OnChainFailed(std::move(reply));
}

void TextChain::Joint::OnInputTaken(size_t bytes) {
  chain_->stages_[place_].taken += bytes;
  if (std::exchange(chain_->credits_scheduled_, true)) return;
  chain_->loop_->AtTurnEnd([chain = chain_, alive = chain_->alive_] {
    if (*alive) chain->GiveCredits();
  });
}

}  // namespace holdfast
