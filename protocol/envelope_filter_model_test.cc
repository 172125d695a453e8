// Random envelopes, random filters, and an evaluation that shares nothing with
// the filter's: it looks at plain values and walks a tree of its own, from
// which the text of the filter was printed.
#include <algorithm>
#include <cctype>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "protocol/envelope_filter.h"

namespace holdfast {
namespace {

constexpr int kRounds = 300;
constexpr int kEnvelopes = 40;
constexpr int64_t kNowSeconds = 1'800'000'000;

using Random = std::mt19937;

int Below(Random* r, int n) {
  return static_cast<int>((*r)() % static_cast<unsigned>(n));
}
template <class T>
const T& Any(Random* r, const std::vector<T>& list) {
  return list[Below(r, static_cast<int>(list.size()))];
}

// Values collide often, or nothing would ever be equal.
const std::vector<std::string> kDomains = {"a.example", "B.example", "c.test"};
const std::vector<std::string> kUsers = {"joe", "Ann", "x.y"};
const std::vector<std::string> kWords = {"", "relay", "Local", "q\"t \\'"};
const std::vector<std::string> kErrors = {
    "", "421 Try later", "450 4.7.1 greylisted (x)", "Network error \xff!"};
const std::vector<std::string> kFlagNames = {
    "bounce", "auth", "suspend", "hold", "doubt", "tls", "smtputf8"};
const std::vector<uint32_t> kFlagBits = {
    kFlagBounce,  kFlagAuthenticated, kFlagSuspended, kFlagHeld,
    kFlagInDoubt, kFlagTls,           kFlagSmtpUtf8};

// An envelope in plain values.
struct Plain {
  uint64_t id = 0;
  std::string sender_user, sender_domain, user, domain, action, tag, listener,
      destination, error, state, kind;
  std::vector<std::string> flags;
  int64_t size = 0, age = 0, expiry = 0, attempts = 0, priority = 0;
  bool has_due = false;
  int64_t due = 0;
  int klass = 0, subject = 0, detail = 0;
};

Plain MakePlain(Random* r) {
  Plain p;
  p.id = (uint64_t{0xfffffff0u + static_cast<unsigned>(Below(r, 16))} << 32) +
         1 + Below(r, 3);
  if (Below(r, 4) > 0) {
    p.sender_user = Any(r, kUsers);
    p.sender_domain = Any(r, kDomains);
  }
  p.user = Any(r, kUsers);
  p.domain = Any(r, kDomains);
  p.action = Any(r, kWords);
  p.tag = Any(r, kWords);
  p.listener = Any(r, kDomains);
  p.kind = Below(r, 2) ? "mta" : "mda";
  p.destination = p.kind == "mta" ? p.domain : p.user;
  p.error = Any(r, kErrors);
  p.size = Below(r, 3000);
  p.age = Below(r, 8) * 1800 + Below(r, 2);
  p.expiry = Below(r, 5) * 3600 - 3600;
  p.attempts = Below(r, 4);
  p.priority = Below(r, 5) - 2;
  if (Below(r, 3) > 0) {
    p.klass = Below(r, 2) ? 4 : 5;
    p.subject = Below(r, 3);
    p.detail = Below(r, 3);
  }
  for (const std::string& flag : kFlagNames)
    if (Below(r, 5) == 0) p.flags.push_back(flag);
  const auto has = [&](const char* flag) {
    return std::count(p.flags.begin(), p.flags.end(), flag) > 0;
  };
  p.has_due = !has("hold") && !has("suspend");
  p.due = Below(r, 9) * 60 - 240;
  p.state = has("suspend")           ? "suspended"
            : has("hold")            ? "held"
            : Below(r, 5) == 0       ? "inflight"
            : has("doubt")           ? "doubt"
            : p.has_due && p.due > 0 ? "deferred"
                                     : "queued";
  return p;
}

EnvelopeFacts FactsFrom(const Plain& p) {
  const absl::Time now = absl::FromUnixSeconds(kNowSeconds);
  EnvelopeFacts facts;
  Envelope& e = facts.envelope;
  e.id = EnvelopeId{p.id};
  e.kind = p.kind == "mta" ? DeliveryKind::kMta : DeliveryKind::kMda;
  e.action = p.action;
  e.tag = p.tag;
  e.smtpname = p.listener;
  e.sender = {p.sender_user, p.sender_domain};
  e.dest = {p.user, p.domain};
  e.created = now - absl::Seconds(p.age);
  e.expires = now + absl::Seconds(p.expiry);
  e.retry = static_cast<uint32_t>(p.attempts);
  e.priority = static_cast<int8_t>(p.priority);
  for (size_t i = 0; i < kFlagNames.size(); ++i)
    if (std::count(p.flags.begin(), p.flags.end(), kFlagNames[i]))
      e.flags |= kFlagBits[i];
  if (p.klass > 0)
    e.status = EnhancedStatus::Make(p.klass, p.subject, p.detail);
  facts.size = static_cast<uint64_t>(p.size);
  facts.destination = p.destination;
  if (p.has_due) facts.due = now + absl::Seconds(p.due);
  facts.state = StateOf(e, p.state == "inflight", facts.due, now);
  facts.error = p.error;
  return facts;
}

// A filter as a text and as a question to a Plain.
struct Model {
  std::string text;
  std::function<bool(const Plain&)> fits;
};

std::string Low(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(c & 0xff));
  return text;
}

std::string Space(Random* r) {
  return std::string(static_cast<size_t>(Below(r, 3)), ' ');
}

// As a shell user would write it, or with more quotes than needed.
std::string Written(Random* r, const std::string& value) {
  bool bare = !value.empty() && Below(r, 2) == 0;
  for (const char c : value)
    bare = bare && std::string(" \t(),\"'").find(c) == std::string::npos;
  if (bare) return value;
  if (value.find('\'') == std::string::npos && Below(r, 2))
    return "'" + value + "'";
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

std::string AnyCase(Random* r, std::string text) {
  if (Below(r, 3) == 0)
    for (char& c : text) c = static_cast<char>(std::toupper(c & 0xff));
  return text;
}

struct TextField {
  std::vector<std::string> names;
  std::function<std::string(const Plain&)> get;
  std::vector<std::string> values;
};

std::vector<TextField> TextFields() {
  std::vector<std::string> addresses = {""};
  for (const auto& user : kUsers)
    for (const auto& domain : kDomains)
      addresses.push_back(user + "@" + domain);
  return {
      {{"sender", "from"},
       [](const Plain& p) {
         return p.sender_domain.empty() ? ""
                                        : p.sender_user + "@" + p.sender_domain;
       },
       addresses},
      {{"recipient", "to"},
       [](const Plain& p) { return p.user + "@" + p.domain; },
       addresses},
      {{"from-domain", "sender.domain"},
       [](const Plain& p) { return p.sender_domain; },
       kDomains},
      {{"domain", "recipient-domain"},
       [](const Plain& p) { return p.domain; },
       kDomains},
      {{"destination"},
       [](const Plain& p) { return p.destination; },
       {"joe", "ann", "x.y", "a.example", "b.example"}},
      {{"action", "dispatcher"},
       [](const Plain& p) { return p.action; },
       kWords},
      {{"tag"}, [](const Plain& p) { return p.tag; }, kWords},
      {{"listener"}, [](const Plain& p) { return p.listener; }, kDomains},
      {{"error"}, [](const Plain& p) { return p.error; }, kErrors},
  };
}

Model MakeText(Random* r) {
  const std::vector<TextField> fields = TextFields();
  const TextField field = Any(r, fields);
  const std::string name = AnyCase(r, Any(r, field.names));
  const auto get = field.get;
  if (Below(r, 3) == 0) {
    const bool inverted = Below(r, 2);
    std::vector<std::string> values;
    std::string list;
    for (int i = 0; i <= Below(r, 3); ++i) {
      values.push_back(Any(r, field.values));
      list += (i ? "," : "") + Space(r) + Written(r, AnyCase(r, values.back()));
    }
    return {name + (inverted ? " not in (" : " in (") + list + ")",
            [=](const Plain& p) {
              bool found = false;
              for (const auto& v : values)
                if (Low(get(p)) == Low(v)) found = true;
              return found != inverted;
            }};
  }
  const bool inverted = Below(r, 2);
  const std::string value = AnyCase(r, Any(r, field.values));
  return {
      name + Space(r) + (inverted ? "!=" : "=") + Space(r) + Written(r, value),
      [=](const Plain& p) { return (Low(get(p)) == Low(value)) != inverted; }};
}

// Patterns that can be judged by looking for a piece of text.
Model MakePattern(Random* r) {
  const std::vector<std::string> pieces = {"421",   "try",   "Try", "(x)",
                                           "4.7.1", "error", "L",   "\xff"};
  const std::string piece = Any(r, pieces);
  const bool front = Below(r, 3) == 0, any_case = Below(r, 2),
             inverted = Below(r, 2);
  std::string pattern = front ? "^" : "";
  for (const char c : piece) {
    if (std::string("().").find(c) != std::string::npos) pattern += '\\';
    pattern += c;
  }
  // A single quote takes backslashes as they are.
  return {std::string("error") + (inverted ? " !~" : " ~") +
              (any_case ? "*" : "") + " '" + pattern + "'",
          [=](const Plain& p) {
            const std::string text = any_case ? Low(p.error) : p.error;
            const std::string wanted = any_case ? Low(piece) : piece;
            const bool found = front
                                   ? text.compare(0, wanted.size(), wanted) == 0
                                   : text.find(wanted) != std::string::npos;
            return found != inverted;
          }};
}

bool Holds(int64_t a, const std::string& op, int64_t b) {
  if (op == "=") return a == b;
  if (op == "!=") return a != b;
  if (op == "<") return a < b;
  if (op == "<=") return a <= b;
  if (op == ">") return a > b;
  return a >= b;
}

const std::vector<std::string> kOrders = {"=", "!=", "<", "<=", ">", ">="};

std::string Seconds(Random* r, int64_t n) {
  const std::string sign = n < 0 ? "-" : "";
  if (n < 0) n = -n;
  if (n % 3600 == 0 && Below(r, 2))
    return sign + std::to_string(n / 3600) + "h";
  if (n % 60 == 0 && Below(r, 2)) return sign + std::to_string(n / 60) + "m";
  if (n > 3600 && Below(r, 2))
    return sign + std::to_string(n / 3600) + "h" + std::to_string(n % 3600) +
           "s";
  return sign + std::to_string(n);
}

Model MakeNumber(Random* r) {
  const std::string op = Any(r, kOrders);
  const auto model = [&](const std::string& name, const std::string& value,
                         int64_t number, auto get) -> Model {
    return {name + Space(r) + op + Space(r) + value,
            [=](const Plain& p) { return Holds(get(p), op, number); }};
  };
  switch (Below(r, 6)) {
    case 0: {
      const int64_t n = Below(r, 3);
      return model("size", std::to_string(n) + "k", n * 1024,
                   [](const Plain& p) { return p.size; });
    }
    case 1: {
      const int64_t n = Below(r, 8) * 1800;
      return model("age", Seconds(r, n), n,
                   [](const Plain& p) { return p.age; });
    }
    case 2: {
      const int64_t n = Below(r, 5) * 3600 - 3600;
      return model("expiry", Seconds(r, n), n,
                   [](const Plain& p) { return p.expiry; });
    }
    case 3: {
      const int64_t n = Below(r, 4);
      return model(Below(r, 2) ? "attempts" : "tries", std::to_string(n), n,
                   [](const Plain& p) { return p.attempts; });
    }
    case 4: {
      const int64_t n = Below(r, 5) - 2;
      return model("priority", std::to_string(n), n,
                   [](const Plain& p) { return p.priority; });
    }
    default: {
      const int64_t n = Below(r, 9) * 60 - 240;
      return {"due " + op + " " + Seconds(r, n), [=](const Plain& p) {
                return p.has_due ? Holds(p.due, op, n) : op == "!=";
              }};
    }
  }
}

std::string Hex(uint64_t n, int digits) {
  std::string text;
  for (int i = digits - 1; i >= 0; --i)
    text += "0123456789abcdef"[(n >> (4 * i)) & 15];
  return text;
}

Model MakeId(Random* r) {
  const std::string op = Any(r, kOrders);
  const uint64_t message = 0xfffffff0u + static_cast<unsigned>(Below(r, 16));
  const auto holds = [op](uint64_t a, uint64_t b) {
    return Holds(a < b ? -1 : a > b ? 1 : 0, op, 0);
  };
  if (Below(r, 2))
    return {"message " + op + " " + Hex(message, 8),
            [=](const Plain& p) { return holds(p.id >> 32, message); }};
  const uint64_t id = message << 32 | (1u + static_cast<unsigned>(Below(r, 3)));
  return {"id" + op + Hex(id, 16),
          [=](const Plain& p) { return holds(p.id, id); }};
}

Model MakeStatus(Random* r) {
  const std::string op = Any(r, kOrders);
  const int klass = Below(r, 2) ? 4 : 5, subject = Below(r, 3),
            detail = Below(r, 3), parts = 1 + Below(r, 3);
  std::string value = std::to_string(klass);
  if (parts > 1) value += "." + std::to_string(subject);
  if (parts > 2) value += "." + std::to_string(detail);
  return {"status " + op + " " + value, [=](const Plain& p) {
            if (p.klass == 0) return op == "!=";
            std::vector<int> a = {p.klass, p.subject, p.detail};
            std::vector<int> b = {klass, subject, detail};
            a.resize(static_cast<size_t>(parts));
            b.resize(static_cast<size_t>(parts));
            return Holds(a < b ? -1 : b < a ? 1 : 0, op, 0);
          }};
}

Model MakeWord(Random* r) {
  const bool inverted = Below(r, 2);
  const std::string op = inverted ? " != " : " = ";
  if (Below(r, 3) == 0) {
    const std::string flag = Any(r, kFlagNames);
    return {"flag" + op + flag, [=](const Plain& p) {
              return (std::count(p.flags.begin(), p.flags.end(), flag) > 0) !=
                     inverted;
            }};
  }
  if (Below(r, 2)) {
    const std::string kind = Below(r, 2) ? "mta" : "MDA";
    return {"kind" + op + kind,
            [=](const Plain& p) { return (p.kind == Low(kind)) != inverted; }};
  }
  const std::string state = Any<std::string>(
      r, {"queued", "deferred", "doubt", "held", "suspended", "inflight"});
  return {"state" + op + state,
          [=](const Plain& p) { return (p.state == state) != inverted; }};
}

Model MakeModel(Random* r, int depth) {
  const int kind = depth == 0 ? 9 : Below(r, 10);
  if (kind < 2) {
    const Model inner = MakeModel(r, depth - 1);
    return {AnyCase(r, "not") + " (" + inner.text + ")",
            [=](const Plain& p) { return !inner.fits(p); }};
  }
  if (kind < 7) {
    const bool all = kind < 5;
    std::vector<Model> parts;
    std::string text;
    for (int i = 0; i < 2 + Below(r, 2); ++i) {
      parts.push_back(MakeModel(r, depth - 1));
      if (i > 0) text += " " + AnyCase(r, all ? "and" : "or") + " ";
      text += "(" + Space(r) + parts.back().text + Space(r) + ")";
    }
    return {text, [=](const Plain& p) {
              bool result = all;
              for (const Model& part : parts)
                result = all ? result && part.fits(p) : result || part.fits(p);
              return result;
            }};
  }
  switch (Below(r, 7)) {
    case 0:
      return MakePattern(r);
    case 1:
      return MakeId(r);
    case 2:
      return MakeStatus(r);
    case 3:
      return MakeWord(r);
    case 4:
      return MakeNumber(r);
    default:
      return MakeText(r);
  }
}

void ExpectWithinHints(const FilterHints& hints, const EnvelopeFacts& f) {
  const auto has = [](const auto& list, const auto& value) {
    return !list || std::binary_search(list->begin(), list->end(), value);
  };
  EXPECT_TRUE(has(hints.ids, f.envelope.id));
  EXPECT_TRUE(has(hints.messages, MessageOf(f.envelope.id)));
  EXPECT_TRUE(has(hints.domains, Low(f.envelope.dest.domain)));
  EXPECT_TRUE(has(hints.destinations, Low(f.destination)));
  EXPECT_TRUE(!hints.due_until || (f.due && *f.due <= *hints.due_until));
  EXPECT_TRUE(!hints.held ||
              (f.envelope.flags & (kFlagHeld | kFlagSuspended)) != 0);
}

TEST(EnvelopeFilterModel, RandomFiltersOnRandomQueues) {
  Random random(20240229);
  int matched = 0, unmatched = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<Plain> queue;
    for (int i = 0; i < kEnvelopes; ++i) queue.push_back(MakePlain(&random));
    const Model model = MakeModel(&random, 3);
    const auto filter =
        EnvelopeFilter::Parse(model.text, absl::FromUnixSeconds(kNowSeconds));
    ASSERT_TRUE(filter.ok()) << filter.status();
    for (const Plain& plain : queue) {
      const EnvelopeFacts facts = FactsFrom(plain);
      const bool expected = model.fits(plain);
      ASSERT_EQ(filter->Matches(facts), expected)
          << model.text << "\n"
          << ToString(facts.envelope.id);
      ++(expected ? matched : unmatched);
      if (expected) ExpectWithinHints(filter->hints(), facts);
    }
  }
  // Neither answer is rare.
  EXPECT_GT(matched, kRounds * kEnvelopes / 10);
  EXPECT_GT(unmatched, kRounds * kEnvelopes / 10);
}

// "and" before "or", without parentheses: the text alone tells.
TEST(EnvelopeFilterModel, PrecedenceWithoutParentheses) {
  Random random(7);
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::vector<Model>> sum;
    std::string text;
    for (int i = 0; i <= Below(&random, 3); ++i) {
      sum.emplace_back();
      for (int k = 0; k <= Below(&random, 3); ++k) {
        Model one = MakeModel(&random, 0);
        const bool inverted = Below(&random, 3) == 0;
        text += text.empty() ? "" : k == 0 ? " or " : " and ";
        text += (inverted ? "not " : "") + one.text;
        if (inverted)
          one.fits = [fits = one.fits](const Plain& p) { return !fits(p); };
        sum.back().push_back(std::move(one));
      }
    }
    const auto filter =
        EnvelopeFilter::Parse(text, absl::FromUnixSeconds(kNowSeconds));
    ASSERT_TRUE(filter.ok()) << filter.status();
    for (int i = 0; i < kEnvelopes; ++i) {
      const Plain plain = MakePlain(&random);
      const bool expected =
          std::any_of(sum.begin(), sum.end(), [&](const auto& product) {
            return std::all_of(product.begin(), product.end(),
                               [&](const Model& m) { return m.fits(plain); });
          });
      ASSERT_EQ(filter->Matches(FactsFrom(plain)), expected) << text;
    }
  }
}

}  // namespace
}  // namespace holdfast
