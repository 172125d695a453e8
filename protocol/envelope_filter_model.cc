#include "protocol/envelope_filter_model.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace holdfast {
namespace {

template <class T>
const T& Any(ModelRandom* r, const std::vector<T>& list) {
  return list[ModelBelow(r, static_cast<int>(list.size()))];
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

}  // namespace

PlainEnvelope MakePlain(ModelRandom* r) {
  PlainEnvelope p;
  p.id =
      (uint64_t{0xfffffff0u + static_cast<unsigned>(ModelBelow(r, 16))} << 32) +
      1 + ModelBelow(r, 3);
  if (ModelBelow(r, 4) > 0) {
    p.sender_user = Any(r, kUsers);
    p.sender_domain = Any(r, kDomains);
  }
  p.user = Any(r, kUsers);
  p.domain = Any(r, kDomains);
  p.action = Any(r, kWords);
  p.tag = Any(r, kWords);
  p.listener = Any(r, kDomains);
  p.kind = ModelBelow(r, 2) ? "mta" : "mda";
  p.destination = p.kind == "mta" ? p.domain : p.user;
  p.error = Any(r, kErrors);
  p.size = ModelBelow(r, 3000);
  p.age = ModelBelow(r, 8) * 1800 + ModelBelow(r, 2);
  p.expiry = ModelBelow(r, 5) * 3600 - 3600;
  p.attempts = ModelBelow(r, 4);
  p.priority = ModelBelow(r, 5) - 2;
  if (ModelBelow(r, 3) > 0) {
    p.klass = ModelBelow(r, 2) ? 4 : 5;
    p.subject = ModelBelow(r, 3);
    p.detail = ModelBelow(r, 3);
  }
  for (const std::string& flag : kFlagNames)
    if (ModelBelow(r, 5) == 0) p.flags.push_back(flag);
  const auto has = [&](const char* flag) {
    return std::count(p.flags.begin(), p.flags.end(), flag) > 0;
  };
  p.has_due = !has("hold") && !has("suspend");
  p.due = ModelBelow(r, 9) * 60 - 240;
  p.state = has("suspend")           ? "suspended"
            : has("hold")            ? "held"
            : ModelBelow(r, 5) == 0  ? "inflight"
            : has("doubt")           ? "doubt"
            : p.has_due && p.due > 0 ? "deferred"
                                     : "queued";
  return p;
}

EnvelopeFacts FactsFrom(const PlainEnvelope& p) {
  const absl::Time now = absl::FromUnixSeconds(kModelNow);
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

namespace {

std::string Low(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(c & 0xff));
  return text;
}

std::string Space(ModelRandom* r) {
  return std::string(static_cast<size_t>(ModelBelow(r, 3)), ' ');
}

// As a shell user would write it, or with more quotes than needed.
std::string Written(ModelRandom* r, const std::string& value) {
  bool bare = !value.empty() && ModelBelow(r, 2) == 0;
  for (const char c : value)
    bare = bare && std::string(" \t(),\"'").find(c) == std::string::npos;
  if (bare) return value;
  if (value.find('\'') == std::string::npos && ModelBelow(r, 2))
    return "'" + value + "'";
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

std::string AnyCase(ModelRandom* r, std::string text) {
  if (ModelBelow(r, 3) == 0)
    for (char& c : text) c = static_cast<char>(std::toupper(c & 0xff));
  return text;
}

struct TextField {
  std::vector<std::string> names;
  std::function<std::string(const PlainEnvelope&)> get;
  std::vector<std::string> values;
};

std::vector<TextField> TextFields() {
  std::vector<std::string> addresses = {""};
  for (const auto& user : kUsers)
    for (const auto& domain : kDomains)
      addresses.push_back(user + "@" + domain);
  return {
      {{"sender", "from"},
       [](const PlainEnvelope& p) {
         return p.sender_domain.empty() ? ""
                                        : p.sender_user + "@" + p.sender_domain;
       },
       addresses},
      {{"recipient", "to"},
       [](const PlainEnvelope& p) { return p.user + "@" + p.domain; },
       addresses},
      {{"from-domain", "sender.domain"},
       [](const PlainEnvelope& p) { return p.sender_domain; },
       kDomains},
      {{"domain", "recipient-domain"},
       [](const PlainEnvelope& p) { return p.domain; },
       kDomains},
      {{"destination"},
       [](const PlainEnvelope& p) { return p.destination; },
       {"joe", "ann", "x.y", "a.example", "b.example"}},
      {{"action", "dispatcher"},
       [](const PlainEnvelope& p) { return p.action; },
       kWords},
      {{"tag"}, [](const PlainEnvelope& p) { return p.tag; }, kWords},
      {{"listener"},
       [](const PlainEnvelope& p) { return p.listener; },
       kDomains},
      {{"error"}, [](const PlainEnvelope& p) { return p.error; }, kErrors},
  };
}

FilterModel MakeText(ModelRandom* r) {
  const std::vector<TextField> fields = TextFields();
  const TextField field = Any(r, fields);
  const std::string name = AnyCase(r, Any(r, field.names));
  const auto get = field.get;
  if (ModelBelow(r, 3) == 0) {
    const bool inverted = ModelBelow(r, 2);
    std::vector<std::string> values;
    std::string list;
    for (int i = 0; i <= ModelBelow(r, 3); ++i) {
      values.push_back(Any(r, field.values));
      list += (i ? "," : "") + Space(r) + Written(r, AnyCase(r, values.back()));
    }
    return {name + (inverted ? " not in (" : " in (") + list + ")",
            [=](const PlainEnvelope& p) {
              bool found = false;
              for (const auto& v : values)
                if (Low(get(p)) == Low(v)) found = true;
              return found != inverted;
            }};
  }
  const bool inverted = ModelBelow(r, 2);
  const std::string value = AnyCase(r, Any(r, field.values));
  return {
      name + Space(r) + (inverted ? "!=" : "=") + Space(r) + Written(r, value),
      [=](const PlainEnvelope& p) {
        return (Low(get(p)) == Low(value)) != inverted;
      }};
}

// Patterns that can be judged by looking for a piece of text.
FilterModel MakePattern(ModelRandom* r) {
  const std::vector<std::string> pieces = {"421",   "try",   "Try", "(x)",
                                           "4.7.1", "error", "L",   "\xff"};
  const std::string piece = Any(r, pieces);
  const bool front = ModelBelow(r, 3) == 0, any_case = ModelBelow(r, 2),
             inverted = ModelBelow(r, 2);
  std::string pattern = front ? "^" : "";
  for (const char c : piece) {
    if (std::string("().").find(c) != std::string::npos) pattern += '\\';
    pattern += c;
  }
  // A single quote takes backslashes as they are.
  return {std::string("error") + (inverted ? " !~" : " ~") +
              (any_case ? "*" : "") + " '" + pattern + "'",
          [=](const PlainEnvelope& p) {
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

std::string Seconds(ModelRandom* r, int64_t n) {
  const std::string sign = n < 0 ? "-" : "";
  if (n < 0) n = -n;
  if (n % 3600 == 0 && ModelBelow(r, 2))
    return sign + std::to_string(n / 3600) + "h";
  if (n % 60 == 0 && ModelBelow(r, 2))
    return sign + std::to_string(n / 60) + "m";
  if (n > 3600 && ModelBelow(r, 2))
    return sign + std::to_string(n / 3600) + "h" + std::to_string(n % 3600) +
           "s";
  return sign + std::to_string(n);
}

FilterModel MakeNumber(ModelRandom* r) {
  const std::string op = Any(r, kOrders);
  const auto model = [&](const std::string& name, const std::string& value,
                         int64_t number, auto get) -> FilterModel {
    return {name + Space(r) + op + Space(r) + value,
            [=](const PlainEnvelope& p) { return Holds(get(p), op, number); }};
  };
  switch (ModelBelow(r, 6)) {
    case 0: {
      const int64_t n = ModelBelow(r, 3);
      return model("size", std::to_string(n) + "k", n * 1024,
                   [](const PlainEnvelope& p) { return p.size; });
    }
    case 1: {
      const int64_t n = ModelBelow(r, 8) * 1800;
      return model("age", Seconds(r, n), n,
                   [](const PlainEnvelope& p) { return p.age; });
    }
    case 2: {
      const int64_t n = ModelBelow(r, 5) * 3600 - 3600;
      return model("expiry", Seconds(r, n), n,
                   [](const PlainEnvelope& p) { return p.expiry; });
    }
    case 3: {
      const int64_t n = ModelBelow(r, 4);
      return model(ModelBelow(r, 2) ? "attempts" : "tries", std::to_string(n),
                   n, [](const PlainEnvelope& p) { return p.attempts; });
    }
    case 4: {
      const int64_t n = ModelBelow(r, 5) - 2;
      return model("priority", std::to_string(n), n,
                   [](const PlainEnvelope& p) { return p.priority; });
    }
    default: {
      const int64_t n = ModelBelow(r, 9) * 60 - 240;
      return {"due " + op + " " + Seconds(r, n), [=](const PlainEnvelope& p) {
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

FilterModel MakeId(ModelRandom* r) {
  const std::string op = Any(r, kOrders);
  const uint64_t message =
      0xfffffff0u + static_cast<unsigned>(ModelBelow(r, 16));
  const auto holds = [op](uint64_t a, uint64_t b) {
    return Holds(a < b ? -1 : a > b ? 1 : 0, op, 0);
  };
  if (ModelBelow(r, 2))
    return {"message " + op + " " + Hex(message, 8),
            [=](const PlainEnvelope& p) { return holds(p.id >> 32, message); }};
  const uint64_t id =
      message << 32 | (1u + static_cast<unsigned>(ModelBelow(r, 3)));
  return {"id" + op + Hex(id, 16),
          [=](const PlainEnvelope& p) { return holds(p.id, id); }};
}

FilterModel MakeStatus(ModelRandom* r) {
  const std::string op = Any(r, kOrders);
  const int klass = ModelBelow(r, 2) ? 4 : 5, subject = ModelBelow(r, 3),
            detail = ModelBelow(r, 3), parts = 1 + ModelBelow(r, 3);
  std::string value = std::to_string(klass);
  if (parts > 1) value += "." + std::to_string(subject);
  if (parts > 2) value += "." + std::to_string(detail);
  return {"status " + op + " " + value, [=](const PlainEnvelope& p) {
            if (p.klass == 0) return op == "!=";
            std::vector<int> a = {p.klass, p.subject, p.detail};
            std::vector<int> b = {klass, subject, detail};
            a.resize(static_cast<size_t>(parts));
            b.resize(static_cast<size_t>(parts));
            return Holds(a < b ? -1 : b < a ? 1 : 0, op, 0);
          }};
}

FilterModel MakeWord(ModelRandom* r) {
  const bool inverted = ModelBelow(r, 2);
  const std::string op = inverted ? " != " : " = ";
  if (ModelBelow(r, 3) == 0) {
    const std::string flag = Any(r, kFlagNames);
    return {"flag" + op + flag, [=](const PlainEnvelope& p) {
              return (std::count(p.flags.begin(), p.flags.end(), flag) > 0) !=
                     inverted;
            }};
  }
  if (ModelBelow(r, 2)) {
    const std::string kind = ModelBelow(r, 2) ? "mta" : "MDA";
    return {"kind" + op + kind, [=](const PlainEnvelope& p) {
              return (p.kind == Low(kind)) != inverted;
            }};
  }
  const std::string state = Any<std::string>(
      r, {"queued", "deferred", "doubt", "held", "suspended", "inflight"});
  return {"state" + op + state, [=](const PlainEnvelope& p) {
            return (p.state == state) != inverted;
          }};
}

}  // namespace

FilterModel MakeFilterModel(ModelRandom* r, int depth) {
  const int kind = depth == 0 ? 9 : ModelBelow(r, 10);
  if (kind < 2) {
    const FilterModel inner = MakeFilterModel(r, depth - 1);
    return {AnyCase(r, "not") + " (" + inner.text + ")",
            [=](const PlainEnvelope& p) { return !inner.fits(p); }};
  }
  if (kind < 7) {
    const bool all = kind < 5;
    std::vector<FilterModel> parts;
    std::string text;
    for (int i = 0; i < 2 + ModelBelow(r, 2); ++i) {
      parts.push_back(MakeFilterModel(r, depth - 1));
      if (i > 0) text += " " + AnyCase(r, all ? "and" : "or") + " ";
      text += "(" + Space(r) + parts.back().text + Space(r) + ")";
    }
    return {text, [=](const PlainEnvelope& p) {
              bool result = all;
              for (const FilterModel& part : parts)
                result = all ? result && part.fits(p) : result || part.fits(p);
              return result;
            }};
  }
  switch (ModelBelow(r, 7)) {
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
}  // namespace holdfast
