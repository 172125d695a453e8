// Random envelopes and random filters, with an evaluation that shares nothing
// with the filter's: it looks at plain values and walks a tree of its own, from
// which the text of the filter was printed.  For tests.
#ifndef HOLDFAST_PROTOCOL_ENVELOPE_FILTER_MODEL_H_
#define HOLDFAST_PROTOCOL_ENVELOPE_FILTER_MODEL_H_

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "protocol/envelope_filter.h"

namespace holdfast {

inline constexpr int64_t kModelNow = 1'800'000'000;

using ModelRandom = std::mt19937;

inline int ModelBelow(ModelRandom* r, int n) {
  return static_cast<int>((*r)() % static_cast<unsigned>(n));
}

// An envelope in plain values.
struct PlainEnvelope {
  uint64_t id = 0;
  std::string sender_user, sender_domain, user, domain, action, tag, listener,
      destination, error, state, kind;
  std::vector<std::string> flags;
  int64_t size = 0, age = 0, expiry = 0, attempts = 0, priority = 0;
  bool has_due = false;
  int64_t due = 0;
  int klass = 0, subject = 0, detail = 0;
};

PlainEnvelope MakePlain(ModelRandom* r);
EnvelopeFacts FactsFrom(const PlainEnvelope& p);

// A filter as a text and as a question to a PlainEnvelope.
struct FilterModel {
  std::string text;
  std::function<bool(const PlainEnvelope&)> fits;
};

// At most `depth` operators deep.
FilterModel MakeFilterModel(ModelRandom* r, int depth);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_ENVELOPE_FILTER_MODEL_H_
